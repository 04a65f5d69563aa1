"""Scores cross-modal retrieval from the embeddings of one data set.

Reads a set's inference directory and writes scoring/retrieval.json in it: recall@k, median and mean
rank, MRR and mAP of each branch, of both branches together, of the teacher and of chance.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from espnet_plugin.evaluation.report.tables import retrieval_table, speech_text_tables
from espnet_plugin.evaluation.scores.directory import score_retrieval_directory
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
        "--compare_dir", help="another model's one on the same set: paired significance tests"
    )
    parser.add_argument(
        "--recall_at", type=int, nargs="+", default=[1, 5, 10], help="k of recall@k"
    )
    parser.add_argument("--bootstrap_samples", type=int, default=1000, help="0: no intervals")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling")
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
        other_directory=args.compare_dir,
        recall_at=sorted(set(args.recall_at)),
        samples=args.bootstrap_samples,
        seed=args.seed,
    )
    sys.stdout.write(retrieval_table(report) + "\n")
    for table in speech_text_tables(report):
        sys.stdout.write("\n" + table.markdown() + "\n")
    for system, directions in report.get("comparison", {}).items():
        if isinstance(directions, str):
            continue
        for direction, measures in directions.items():
            for measure, test in measures.items():
                sys.stdout.write(
                    f"{system} {direction} {measure}: {100 * test['difference']:+.1f} points, "
                    f"p = {test['p_value']:.4f}\n"
                )


if __name__ == "__main__":
    main()
