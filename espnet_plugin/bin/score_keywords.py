"""Scores the keywords of one data set against its captions, and their places against alignments.

Reads keywords.jsonl of a set's inference directory and writes scoring/keywords.json beside it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.data.alignments import WORDS_CTM
from espnet_plugin.evaluation.report.tables import keyword_table
from espnet_plugin.evaluation.scores.keywords import score_keywords_directory
from espnet_plugin.utils.command import command_errors


def get_parser() -> argparse.ArgumentParser:
    """Returns the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--inference_dir", required=True, help="a set's inference directory")
    parser.add_argument(
        "--token_list",
        help="tokens.tsv of the keyword vocabulary, if the tokenizer is not CLIP's own",
    )
    alignment = parser.add_mutually_exclusive_group()
    alignment.add_argument("--words_ctm", help="word alignments, Kaldi CTM")
    alignment.add_argument("--data_dir", help="the set's data directory; words.ctm in it is used")
    parser.add_argument(
        "--tolerance", type=float, default=0.05, help="of word boundaries, in seconds"
    )
    return parser


@command_errors("score_keywords")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs the command."""
    args = get_parser().parse_args(cmd)
    words_ctm = args.words_ctm
    if args.data_dir and (Path(args.data_dir) / WORDS_CTM).exists():
        words_ctm = Path(args.data_dir) / WORDS_CTM
    scores = score_keywords_directory(
        args.inference_dir,
        token_list=args.token_list,
        words_ctm=words_ctm,
        tolerance=args.tolerance,
    )
    title = f"Keywords of {Path(args.inference_dir).absolute().name}:\n\n"
    sys.stdout.write(title + keyword_table(scores, scores.get("intervals", {})).markdown() + "\n")


if __name__ == "__main__":
    main()
