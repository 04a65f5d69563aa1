"""The command line that every corpus's preparation has."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from espnet_plugin.data.scp import DataError


def preparation_parser(description: str, *, root_help: str) -> argparse.ArgumentParser:
    """Options that all corpora share: where the corpus lies, where the data goes, and how.

    Args:
        description: Module docstring of the preparation; its first line is shown.
        root_help: What ``--root`` is.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--root", default="", help=root_help)
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--nj", type=int, default=2, help="processes")
    parser.add_argument("--max_bad", type=float, default=0.1, help="share that may be skipped")
    return parser


def run_preparation(corpus: str, prepare: Callable[[], object]) -> None:
    """Prepares; a fault of the corpus ends it with one message and exit code 1."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s: %(message)s")
    try:
        prepare()
    except DataError as error:
        sys.exit(f"{corpus}: error: {error}")
