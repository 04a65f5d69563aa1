"""Writes an experiment's results: RESULTS.md, scores.json, report.html and figures."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.evaluation.report.tables import retrieval_tables
from espnet_plugin.evaluation.report.write import RESULTS_FILE, write_results
from espnet_plugin.evaluation.scores.experiment import SCORES_FILE
from espnet_plugin.utils.command import command_errors


def get_parser() -> argparse.ArgumentParser:
    """Returns the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--inference_dir", required=True, help="directory that holds one directory per set"
    )
    parser.add_argument("--test_set", help="the set to report, if there are several test sets")
    parser.add_argument("--dev_set", help="the set on which the branches' weights are chosen")
    parser.add_argument(
        "--train_dir",
        help="the training set's data directory: the development set searches its images",
    )
    parser.add_argument("--expdir", help="experiment directory [the parent of inference_dir]")
    parser.add_argument(
        "--data_dir", help="the set's data directory (wav.scp, image.scp, words.ctm), for figures"
    )
    parser.add_argument(
        "--no_report", action="store_true", help="leave report.html and the figures out"
    )
    return parser


@command_errors("show_results")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs the command."""
    args = get_parser().parse_args(cmd)
    scores = write_results(
        args.inference_dir,
        test_set=args.test_set,
        dev_set=args.dev_set,
        experiment=args.expdir,
        data_dir=args.data_dir,
        train_dir=args.train_dir,
        figures=not args.no_report,
        report=not args.no_report,
    )
    print(*(table.markdown() for table in retrieval_tables(scores)), sep="\n\n")
    logging.info(f"written: {Path(args.inference_dir) / RESULTS_FILE}, {SCORES_FILE}")


if __name__ == "__main__":
    main()
