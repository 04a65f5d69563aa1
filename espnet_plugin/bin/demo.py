"""Serves a page to try a model: speak, write or show a picture, and see what it finds.

Example:
    speechclip demo --index pictures.index --data data/mini_test
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.utils.command import (
    add_model_arguments,
    command_errors,
    seconds,
    size,
)

HOST, PORT = "127.0.0.1", 7860


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    return parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What this command and ``speechclip demo`` are asked for."""
    add_model_arguments(parser, required=False)
    parser.add_argument("--index", type=Path, help="pictures, by speechclip index (default: none)")
    parser.add_argument("--data", type=Path, help="data directory whose recordings can be heard")
    parser.add_argument("--host", default=HOST, help=f"address to listen at ({HOST})")
    parser.add_argument("--port", type=int, default=PORT, help=f"its port, 0: any ({PORT})")
    parser.add_argument("--max_size", type=size, default="10MB", help="of an upload (10MB)")
    parser.add_argument("--max_duration", type=seconds, default="60s", help="of a recording (60s)")


def serve_page(args: argparse.Namespace) -> None:
    """Loads the model, the index and the captions, and serves the page."""
    from espnet_plugin.demo.backend import Backend
    from espnet_plugin.demo.captions import embed_captions, read_captions
    from espnet_plugin.demo.server import serve
    from espnet_plugin.demo.uploads import Limits
    from espnet_plugin.inference.speechclip import SpeechCLIP
    from espnet_plugin.inference.utterance import MAX_SECONDS
    from espnet_plugin.search.index import PictureIndex
    from espnet_plugin.search.model import identify_model

    limits = Limits(size=args.max_size, seconds=args.max_duration)
    if args.model is None and args.index is None:
        raise ValueError("give --index (made by speechclip index), --model, or both")
    found = read_captions(args.data) if args.data else []
    index = PictureIndex(args.index.absolute()) if args.index else None
    # an index without images has the length 0
    if index is not None:
        model = index.model_at_hand(args.model)
    else:
        model = identify_model(args.model)
    loaded = SpeechCLIP.from_pretrained(
        model.name,
        device=args.device,
        max_seconds=max(args.max_seconds or MAX_SECONDS, limits.seconds),
        trust_remote_code=args.trust_remote_code,
    )
    captions = None
    if found:
        captions = embed_captions(
            found,
            loaded,
            fingerprint=model.fingerprint,
            cache=index.directory if index is not None else None,
        )
    backend = Backend(loaded, index=index, captions=captions)
    serve(backend, limits=limits, host=args.host, port=args.port)


@command_errors("demo")
def main(cmd: Sequence[str] | None = None) -> None:
    """Serves; bad input ends it with one message and exit code 1."""
    serve_page(get_parser().parse_args(cmd))


if __name__ == "__main__":
    main()
