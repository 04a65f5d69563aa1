"""Scores cross-modal retrieval from the embeddings of one data set.

Reads a set's inference directory and writes scoring/retrieval.json in it: recall@k, median and mean
rank, MRR and mAP of each branch, of both branches together, of the teacher and of chance.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from espnet_plugin.evaluation.report.tables import retrieval_table, speech_text_tables
from espnet_plugin.evaluation.scores.retrieval import score_retrieval_directory
from espnet_plugin.utils.command import command_errors


def get_parser() -> argparse.ArgumentParser:
    """Returns the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--inference_dir", required=True, help="a set's inference directory")
    parser.add_argument(
        "--dev_dir", help="the development set's one, on which the branches' weights are chosen"
    )
    parser.add_argument(
        "--recall_at", type=int, nargs="+", default=[1, 5, 10], help="k of recall@k"
    )
    return parser


@command_errors("score_retrieval")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs the command."""
    args = get_parser().parse_args(cmd)
    if min(args.recall_at) < 1:
        raise ValueError("--recall_at takes numbers from 1")
    report = score_retrieval_directory(
        args.inference_dir,
        dev_directory=args.dev_dir,
        recall_at=sorted(set(args.recall_at)),
    )
    sys.stdout.write(retrieval_table(report) + "\n")
    for table in speech_text_tables(report):
        sys.stdout.write("\n" + table.markdown() + "\n")


if __name__ == "__main__":
    main()
