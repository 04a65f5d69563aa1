"""Upload a model to Hugging Face, with a card that says what it is.

Example:
    python -m espnet_plugin.bin.speechclip_upload --directory exported --repo user/name
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.utils.command import command_errors


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", required=True, help="user/name")
    parser.add_argument(
        "--directory",
        type=Path,
        required=True,
        help="exported model, or a folder with a packed one as model.zip",
    )
    return parser


@command_errors("speechclip_upload")
def main(cmd: Sequence[str] | None = None) -> None:
    """Uploads in one commit; whatever the hub refuses ends it with one message and exit code 1."""
    args = get_parser().parse_args(cmd)
    from espnet_plugin.pretrained.names import PACKED
    from espnet_plugin.pretrained.publishing import upload, write_model_card

    packed = args.directory / PACKED
    source = packed if packed.exists() else args.directory
    write_model_card(args.directory, source, name=args.repo)
    upload(args.directory, args.repo)
    logging.info(f'uploaded; it loads with SpeechCLIP.from_pretrained("{args.repo}")')


if __name__ == "__main__":
    main()
