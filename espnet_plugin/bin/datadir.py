"""Work on data directories: filter, fix, validate, copy, and add what training needs.

Example: ``python -m espnet_plugin.bin.datadir fix --dir data/mini_train``
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.data import datadir
from espnet_plugin.data.record import make_record, require_fresh, write_record
from espnet_plugin.media.formats import parse_rate
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.command import command_errors
from espnet_plugin.utils.progress import counted


def filter_(args: argparse.Namespace) -> None:
    options = {"shortest": args.min_seconds, "longest": args.max_seconds, "fs": parse_rate(args.fs)}
    lists = {name: args.input_dir / name for name in ("wav.scp", "image.scp")}
    record = make_record("data set", options, inputs=lists)
    report = datadir.keep_by_duration(
        args.input_dir,
        args.output_dir,
        fs=parse_rate(args.fs),
        shortest=args.min_seconds,
        longest=args.max_seconds,
    )
    write_record(args.output_dir, record)
    datadir.log_report(args.output_dir, report)


def fix(args: argparse.Namespace) -> None:
    datadir.log_report(args.dir, datadir.fix(args.dir))


def validate(args: argparse.Namespace) -> None:
    datadir.validate(args.dir, text=not args.no_text)
    datadir.log_report(args.dir, ["valid"])


def copy(args: argparse.Namespace) -> None:
    datadir.copy(args.input_dir, args.output_dir)


def image_ids(args: argparse.Namespace) -> None:
    count = datadir.write_image_ids(args.dir)
    # ESPnet's scripts read from these two files what kind of features a directory has
    write_text(args.dir / "feats_type", "raw\n")
    write_text(args.dir / "audio_format", f"{args.audio_format}\n")
    datadir.log_report(args.dir, [counted(count, "image")])


def image_feats(args: argparse.Namespace) -> None:
    missing = datadir.write_image_feats(args.dir, args.embedding_scp)
    if missing:
        logging.warning(f"{args.dir}: utterances without image embedding, removed: {len(missing)}")
        datadir.fix(args.dir)


def fresh(args: argparse.Namespace) -> None:
    require_fresh(args.results, remedy=args.remedy, any_version=args.any_version)


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    def command(function, text: str, *directories: str) -> argparse.ArgumentParser:
        name = function.__name__.rstrip("_")
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(function=function)
        for option in directories:
            sub.add_argument(option, type=Path, required=True, help="data directory")
        return sub

    two = ("--input_dir", "--output_dir")

    sub = command(filter_, "Keep the utterances that are neither too short nor too long.", *two)
    sub.add_argument("--fs", default="16k", help="sampling rate in Hz")
    sub.add_argument("--min_seconds", type=float, default=0.0)
    sub.add_argument("--max_seconds", type=float, default=float("inf"))

    command(fix, "Keep what every file has, sort all files.", "--dir")
    sub = command(validate, "Fail when a directory is inconsistent.", "--dir")
    sub.add_argument("--no_text", action="store_true", help="captions are not required")
    command(copy, "Copy a data directory's files.", *two)
    sub = command(image_ids, "Write utt2image_id, feats_type and audio_format.", "--dir")
    sub.add_argument("--audio_format", default="flac")
    sub = command(image_feats, "Write image_feat.scp from image_embedding.scp.", "--dir")
    sub.add_argument("--embedding_scp", type=Path, required=True)
    sub = command(fresh, "Fail when results were made from other data or another model.")
    sub.add_argument("--results", type=Path, nargs="+", required=True, help="files or folders")
    sub.add_argument("--remedy", required=True, help="what to do then")
    sub.add_argument("--any_version", action="store_true", help="of the code that made them")
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Runs one sub-command; a fault of the data ends it with one message and exit code 1."""
    args = get_parser().parse_args(cmd)
    with command_errors(f"datadir {args.command}"):
        args.function(args)


if __name__ == "__main__":
    main()
