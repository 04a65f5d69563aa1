"""Bring the recordings of a data directory to one rate, one channel and one format.

Recordings that are right already are used as they are. Bad ones (missing, unreadable, cut off,
empty, NaN) and those of images that cannot be read are skipped, counted and listed in skipped.tsv,
after what the data directory's own skipped.tsv has. A run that was stopped continues there.

In one process tree:   ``... --wav_scp data/x/wav.scp --output_dir dump/raw/org/x --nj 8``
As an array of jobs:   ``... --part JOB/8`` for each, then ``--merge``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.data.datadir import log_report
from espnet_plugin.data.format_audio import (
    finished,
    format_recordings,
    read_sources,
    write_usable,
)
from espnet_plugin.data.record import make_record, write_record
from espnet_plugin.data.skipped import require_few
from espnet_plugin.media.formats import FORMATS, parse_rate
from espnet_plugin.utils.command import add_part, command_errors


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wav_scp", type=Path, required=True, help="utterance → recording")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--fs", default="16k", help="sampling rate in Hz")
    parser.add_argument("--audio_format", default="flac", choices=sorted(FORMATS))
    parser.add_argument("--nj", type=int, default=1, help="processes of this job")
    add_part(parser)
    parser.add_argument("--merge", action="store_true", help="merge the jobs' results, only")
    parser.add_argument(
        "--max_bad", type=float, default=0.1, help="share of the utterances that may be skipped"
    )
    return parser


@command_errors("format_wav_scp")
def main(cmd: Sequence[str] | None = None) -> None:
    """Formats, or merges; a fault of the data ends it with one message and exit code 1."""
    args = get_parser().parse_args(cmd)
    options = {"rate": parse_rate(args.fs), "audio_format": args.audio_format}
    record = make_record("recordings", options, inputs={"wav_scp": args.wav_scp})
    sources = read_sources(args.wav_scp, args.part)
    if args.part is None:  # what the preparation skipped may be too much already
        require_few(args.wav_scp.parent, kept=len(sources), max_bad=args.max_bad)
    if args.merge:
        outcomes = finished(sources, args.output_dir, **options)
    else:
        job = str((args.part or (1, 1))[0])
        outcomes = format_recordings(
            sources, args.output_dir, processes=args.nj, job=job, **options
        )
    if args.part is None:
        report = write_usable(
            args.wav_scp.parent,
            args.output_dir,
            outcomes,
            rate=options["rate"],
            max_bad=args.max_bad,
            processes=args.nj,
        )
        write_record(args.output_dir / "wav.scp", record)
        log_report(args.output_dir, report)


if __name__ == "__main__":
    main()
