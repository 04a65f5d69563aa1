"""Bring the recordings of a wav.scp to one rate, one channel and one format.

Bad ones (missing, unreadable, cut off, empty, NaN) are skipped, counted and listed in skipped.tsv.
Recordings that are right already are used as they lie. A run that was stopped goes on where it was.

In one process tree:   ``... --wav_scp data/x/wav.scp --output_dir dump/raw/org/x --nj 8``
As an array of jobs:   ``... --key_file keys.JOB.scp --job JOB`` for each, then ``--merge N``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.data.audio import FORMATS, parse_rate
from espnet_plugin.data.datadir import log_report
from espnet_plugin.data.format_audio import format_shard, sources_of, write_results
from espnet_plugin.data.scp import read_lines
from espnet_plugin.utils.command import command_errors


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wav_scp", type=Path, required=True, help="utterance → recording")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--fs", default="16k", help="sampling rate in Hz")
    parser.add_argument("--audio_format", default="flac", choices=sorted(FORMATS))
    parser.add_argument("--nj", type=int, default=1, help="processes of this job")
    parser.add_argument("--key_file", type=Path, help="only the utterances listed there")
    parser.add_argument("--job", default="1", help="number of this job in an array")
    parser.add_argument("--merge", type=int, help="merge the results of that many jobs, only")
    parser.add_argument(
        "--max_bad", type=float, default=0.1, help="share of the recordings that may be skipped"
    )
    return parser


@command_errors("format_wav_scp")
def main(cmd: Sequence[str] | None = None) -> None:
    """Formats, or merges; a fault of the data ends it with one message and exit code 1."""
    args = get_parser().parse_args(cmd)
    if args.merge is not None:
        names = [str(job) for job in range(1, args.merge + 1)]
    else:
        with sources_of(args.wav_scp, args.key_file) as sources:
            names = [args.job]
            format_shard(
                sources,
                args.output_dir,
                rate=parse_rate(args.fs),
                audio_format=args.audio_format,
                processes=args.nj,
                name=args.job,
                total=sum(1 for _ in read_lines(args.key_file or args.wav_scp)),
            )
    if args.merge is not None or args.key_file is None:
        report = write_results(args.output_dir, names, max_bad=args.max_bad)
        log_report(args.output_dir, report)


if __name__ == "__main__":
    main()
