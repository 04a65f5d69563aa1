"""The command lines that every corpus's preparation and download have."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from espnet_plugin.utils.command import command_errors

from .download import download
from .fetch import Resource
from .sets import prepare_sets
from .speak import speak_corpus
from .spoken_captions import Corpus


def preparation_command(
    name: str, read: Callable[..., Corpus], description: str, options: Mapping[str, str]
) -> None:
    """Read a corpus and make its data directories.

    Args:
        name: Name of the corpus.
        read: Function that takes what was given for each of ``options``, by its name, and whether
            recordings may be missing (``speak``).
        description: Module docstring of the preparation; its first line is shown.
        options: Help of each of the corpus's own options, whose values are texts.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    for option, text in options.items():
        parser.add_argument(f"--{option}", default="", help=text)
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument(
        "--allow_outside",
        action="store_true",
        help="the lists may name files outside the corpus's folders, by absolute paths too",
    )
    parser.add_argument(
        "--speak",
        type=Path,
        help="synthetic voices say captions without a recording; folder for what they say, which "
        "names the sets and, by _seedN at its end, the seed",
    )
    parser.add_argument("--nj", type=int, default=2, help="processes that speak")
    args = parser.parse_args()
    with command_errors(name):
        given = {option: getattr(args, option) for option in options}
        corpus = read(**given, speak=args.speak is not None)
        if args.speak:
            corpus = speak_corpus(corpus, args.speak, jobs=args.nj)
        prepare_sets(corpus, args.data_dir, allow_outside=args.allow_outside)


def download_command(name: str, parts: Sequence[Resource], description: str) -> None:
    """Fetch and unpack the parts of a corpus that are missing.

    Args:
        name: Name of the corpus.
        parts: Archives of the corpus.
        description: Module docstring of the download; its first line is shown.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--target", type=Path, default=Path("downloads") / name)
    names = [part.name for part in parts]
    parser.add_argument("--without", choices=names, nargs="+", default=[], help="not to be fetched")
    args = parser.parse_args()
    with command_errors(name):
        download([part for part in parts if part.name not in args.without], args.target)
