"""Converts a released checkpoint of SpeechCLIP(+) into a directory that this package loads.

Nothing of the checkpoint is executed. The report accounts for every weight in it.

Example:
    python -m espnet_plugin.bin.convert_checkpoint released.ckpt exp/speechclip_released
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import fields

from espnet_plugin.pretrained.convert.report import ConversionReport
from espnet_plugin.speechclip.compatibility import ReferenceCompatibility
from espnet_plugin.utils.command import command_errors


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    return parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What this command and ``speechclip convert`` are asked for."""
    parser.add_argument("checkpoint", help="Lightning checkpoint, as released")
    parser.add_argument("out_dir", help="Directory for the converted model")
    parser.add_argument(
        "--vocabulary",
        default=None,
        help="Token ids of the reduced vocabulary in row order: a text file with one id a line, a "
        "tokens.tsv or a .npy array (default: recovered from the token embeddings)",
    )
    parser.add_argument(
        "--speech_encoder",
        default=None,
        help="Public HuBERT to name instead of storing its weights, if they are equal: a hub name "
        "such as facebook/hubert-base-ls960, or a directory, which loading then takes only with "
        "--trust_remote_code (default: weights are stored)",
    )
    parser.add_argument(
        "--clip",
        default=None,
        metavar="MODEL:TAG",
        help="Public CLIP to name instead of storing its weights, if they are equal, e.g. "
        "ViT-B-32-quickgelu:openai (default: weights are stored)",
    )
    parser.add_argument(
        "--compatibility",
        nargs="*",
        default=[],
        choices=[field.name for field in fields(ReferenceCompatibility)],
        help="Behaviours of the original to switch on in the converted model; docs/parity.md "
        "describes them. None is needed for the embeddings of lone utterances",
    )
    parser.add_argument("--force", action="store_true", help="Replace out_dir if it is not empty")


def convert(args: argparse.Namespace) -> ConversionReport:
    """Converts and says what became of every weight."""
    from espnet_plugin.pretrained.convert.converter import Teachers, convert_checkpoint

    report = convert_checkpoint(
        args.checkpoint,
        args.out_dir,
        vocabulary=args.vocabulary,
        teachers=Teachers(args.speech_encoder, args.clip),
        compatibility=args.compatibility,
        force=args.force,
    )
    logging.info(f"{args.checkpoint} → {args.out_dir}")
    return report


@command_errors("convert_checkpoint")
def main(cmd: Sequence[str] | None = None) -> None:
    """Converts; a fault of the checkpoint ends it with one message and exit code 1."""
    print(convert(get_parser().parse_args(cmd)))


if __name__ == "__main__":
    main()
