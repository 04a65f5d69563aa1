"""The command lines that every corpus's preparation and download have."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from espnet_plugin.data.scp import DataError
from espnet_plugin.utils.disk import NotEnoughSpaceError

from .download import Part, download
from .sets import prepare_sets
from .spoken_captions import Corpus


def preparation_command(
    read: Callable[..., Corpus], description: str, folders: dict[str, str]
) -> None:
    """Reads a corpus and makes its data directories.

    Args:
        read: Takes what was given for each of ``folders``.
        description: Module docstring of the preparation; its first line is shown.
        folders: Options that say where the corpus lies → their help.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    for name, text in folders.items():
        parser.add_argument(f"--{name}", default="", help=text)
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--nj", type=int, default=2, help="processes")
    parser.add_argument("--max_bad", type=float, default=0.1, help="share that may be skipped")
    args = parser.parse_args()
    corpus = [getattr(args, name) for name in folders]
    _run(lambda: prepare_sets(read(*corpus), args.data_dir, jobs=args.nj, max_bad=args.max_bad))


def download_command(parts: Sequence[Part], description: str, target: str) -> None:
    """Fetches and unpacks the parts of a corpus that are not there yet.

    Args:
        parts: Its archives.
        description: Module docstring of the download; its first line is shown.
        target: Folder of the corpus, unless ``--target`` names another.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--target", type=Path, default=Path(target))
    args = parser.parse_args()
    _run(lambda: download(parts, args.target))


def _run(work: Callable[[], object]) -> None:
    """Works; a fault of the corpus or the disk ends it with one message and exit code 1."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s: %(message)s")
    try:
        work()
    except (DataError, NotEnoughSpaceError) as error:
        sys.exit(f"error: {error}")
