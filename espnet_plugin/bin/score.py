"""Scores an experiment's sets, prints their tables, and writes the report of the first one.

Each set's directory gets ``scoring/retrieval.json``, and ``scoring/keywords.json`` if there are
keywords and captions. The report is RESULTS.md, scores.json, report.html and figures.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.evaluation.report.tables import score_tables
from espnet_plugin.evaluation.report.write import RESULTS_FILE, only_test_set, write_results
from espnet_plugin.evaluation.scores.experiment import SCORES_FILE, score_set
from espnet_plugin.utils.command import command_errors


def get_parser() -> argparse.ArgumentParser:
    """Returns the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--inference_dir", type=Path, required=True, help="directory that holds one per set"
    )
    parser.add_argument("--sets", nargs="*", help="names of the sets [the only test set]")
    parser.add_argument(
        "--dev_set", help="the set on which the branches' weights and min_score are selected"
    )
    parser.add_argument(
        "--train_dir",
        type=Path,
        help="the training set's data directory: the development set searches its images",
    )
    parser.add_argument("--expdir", help="experiment directory [the parent of inference_dir]")
    parser.add_argument(
        "--data_root",
        type=Path,
        help="directory that holds the sets' data directories, with utt2spk, utt2lang, words.ctm "
        "and the media of figures",
    )
    parser.add_argument(
        "--no_report", action="store_true", help="leave report.html and the figures out"
    )
    return parser


@command_errors("score")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs the command."""
    args = get_parser().parse_args(cmd)
    first, *others = args.sets or [only_test_set(args.inference_dir)]
    data_dir = {name: args.data_root and args.data_root / name for name in (first, *others)}
    scores = {
        first: write_results(
            args.inference_dir,
            test_set=first,
            dev_set=args.dev_set,
            experiment=args.expdir,
            data_dir=data_dir[first],
            train_dir=args.train_dir,
            figures=not args.no_report,
            report=not args.no_report,
        )
    }
    for name in others:
        scores[name] = score_set(
            args.inference_dir / name,
            dev_directory=args.inference_dir / args.dev_set if args.dev_set else None,
            data_dir=data_dir[name],
            train_dir=args.train_dir,
        )
    for name, found in scores.items():
        print(f"{name}:", *(table.markdown() for table in score_tables(found)), "", sep="\n\n")
    logging.info(f"written: {args.inference_dir / RESULTS_FILE}, {SCORES_FILE}")


if __name__ == "__main__":
    main()
