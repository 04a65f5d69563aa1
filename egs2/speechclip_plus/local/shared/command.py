"""The command lines that every corpus's preparation and download have."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from espnet_plugin.data.download import Resource
from espnet_plugin.utils.command import command_errors

from .download import download
from .sets import prepare_sets
from .spoken_captions import Corpus


def preparation_command(
    name: str, read: Callable[..., Corpus], description: str, options: Mapping[str, str]
) -> None:
    """Read a corpus and make its data directories.

    Args:
        name: Name of the corpus.
        read: Function that takes what was given for each of ``options``, by its name.
        description: Module docstring of the preparation; its first line is shown.
        options: Help of each of the corpus's own options, whose values are texts.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    for option, text in options.items():
        parser.add_argument(f"--{option}", default="", help=text)
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--nj", type=int, default=2, help="processes")
    parser.add_argument("--max_bad", type=float, default=0.1, help="share that may be skipped")
    parser.add_argument(
        "--allow_outside",
        action="store_true",
        help="the lists may name files outside the corpus's folders, by absolute paths too",
    )
    args = parser.parse_args()
    with command_errors(name):
        corpus = read(**{option: getattr(args, option) for option in options})
        prepare_sets(
            corpus,
            args.data_dir,
            jobs=args.nj,
            max_bad=args.max_bad,
            allow_outside=args.allow_outside,
        )


def download_command(name: str, parts: Sequence[Resource], description: str) -> None:
    """Fetch and unpack the parts of a corpus that are missing.

    Args:
        name: Name of the corpus.
        parts: Archives of the corpus.
        description: Module docstring of the download; its first line is shown.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--target", type=Path, default=Path("downloads") / name)
    args = parser.parse_args()
    with command_errors(name):
        download(parts, args.target)
