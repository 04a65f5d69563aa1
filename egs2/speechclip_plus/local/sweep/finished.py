"""Whether a run of a study is there, made as this call would make it; scripts/sweep.sh asks.

Exit code 0: it is. 4: it is not. 3: another one is in its place, and the message says what differs.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.data.record import (
    VERSIONS,
    Record,
    make_record,
    read_record,
    require_fresh,
    require_made_from,
    write_record,
)
from espnet_plugin.utils.command import command_errors
from espnet_plugin.utils.errors import DataError

MADE_BY = ("training", "inference", "scores")


def get_parser() -> argparse.ArgumentParser:
    """Returns the command's options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=Path, required=True, help="scores.json of the run")
    parser.add_argument("--config", type=Path, required=True, help="training configuration")
    parser.add_argument("--write", action="store_true", help="note that the run is finished")
    parser.add_argument("options", nargs="*", metavar="-- OPTION", help="of run.sh")
    return parser


@command_errors("study")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs the command."""
    args = get_parser().parse_args(cmd)
    record = run_record(args.config, args.options)
    if args.write:
        write_record(args.scores.parent, record)
    elif not args.scores.is_file():
        sys.exit(4)
    elif (before := read_record(args.scores.parent)) is None:
        logging.warning(f"{args.scores}: with which options it was made is not known")
    else:
        remedy = "give this study a --tag of its own, or remove the folder"
        try:
            require_made_from(args.scores.parent, record, remedy=remedy, before=before)
            require_fresh([args.scores], remedy="remove it to make it again")
        except DataError as error:
            logging.error(str(error))
            sys.exit(3)


def run_record(config: Path, options: Sequence[str]) -> Record:
    """The record of a run: options of ``run.sh``, its configuration, and what the code makes."""
    named: dict[str, str] = {}
    for word in options:
        if word.startswith("--"):
            named[name := word.removeprefix("--").replace("-", "_")] = ""
        else:
            named[name] = f"{named[name]} {word}".strip()
    versions = [VERSIONS["study"], *(VERSIONS[step] for step in MADE_BY)]
    return make_record("study", named, inputs={"configuration": config}, version=versions)


if __name__ == "__main__":
    main()
