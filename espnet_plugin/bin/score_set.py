"""Scores one data set: retrieval from its embeddings, and keywords against the captions.

Reads a set's inference directory and writes scoring/ in it. ``retrieval.json`` has recall@k, median
and mean rank, MRR and mAP of each branch, of both, of CLIP reading the caption, and of chance.
``keywords.json`` has hits and places of the keywords, if there are keywords and captions.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.data.inference_set import read_inference_set
from espnet_plugin.evaluation.report.tables import (
    detection_table,
    keyword_language_table,
    keyword_table,
    language_table,
    retrieval_tables,
    speech_text_tables,
)
from espnet_plugin.evaluation.scores.keyword_scores import score_keywords_directory
from espnet_plugin.evaluation.scores.retrieval import score_retrieval_directory
from espnet_plugin.evaluation.spoken import read_spoken
from espnet_plugin.utils.command import command_errors


def get_parser() -> argparse.ArgumentParser:
    """Returns the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--inference_dir", required=True, help="a set's inference directory")
    parser.add_argument(
        "--dev_dir",
        help="the development set's one, on which the branches' weights and min_score are chosen",
    )
    parser.add_argument(
        "--train_dir",
        help="the training set's data directory: the development set searches its images",
    )
    parser.add_argument(
        "--data_dir", type=Path, help="the set's data directory, with utt2spk, utt2lang, words.ctm"
    )
    return parser


@command_errors("score_set")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs the command."""
    args = get_parser().parse_args(cmd)
    report = score_retrieval_directory(
        args.inference_dir,
        dev_directory=args.dev_dir,
        data_dir=args.data_dir,
        train_dir=args.train_dir,
    )
    tables = retrieval_tables(report) + speech_text_tables(report)
    if "languages" in report:
        tables.append(language_table(report["languages"]))
    if read_inference_set(args.inference_dir).captioned_keywords:
        chosen_on = read_inference_set(args.dev_dir).captioned_keywords if args.dev_dir else ()
        scores = score_keywords_directory(
            args.inference_dir, spoken=read_spoken(args.data_dir), chosen_on=chosen_on
        )
        tables.append(keyword_table(scores, scores.get("intervals", {})))
        if "languages" in scores:
            tables.append(keyword_language_table(scores["languages"]))
        if scores["detection"]:
            tables.append(detection_table(scores["detection"]))
    shown = (table.markdown() for table in tables)
    print(f"{Path(args.inference_dir).absolute().name}:", *shown, sep="\n\n")


if __name__ == "__main__":
    main()
