"""Write a list of the words that a small CLIP reads, counted in general English, for --vocab_text.

A real CLIP reads every sub-word of its table; a small CLIP only its world's words. The counts come
from wordfreq's list, which knows nothing of the corpus.

    python -m local.mini.general_words --world babel --output data/general_words.tsv
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from espnet_plugin.data.english import general_word_counts, write_word_counts
from espnet_plugin.utils.command import command_errors

from .config import MINI_CORPORA


@command_errors("general_words")
def main(cmd: list[str] | None = None) -> None:
    """Writes the list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", choices=tuple(MINI_CORPORA), default="default")
    parser.add_argument("--output", type=Path, required=True, help="word<tab>count lines")
    args = parser.parse_args(cmd)
    known = frozenset(MINI_CORPORA[args.world].world.words)
    counts = {word: n for word, n in general_word_counts().items() if word in known}
    write_word_counts(args.output, counts)
    logging.info(f"{args.output}: words of the world with a count: {len(counts)}")


if __name__ == "__main__":
    main()
