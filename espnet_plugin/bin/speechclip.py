"""Search pictures by voice, hear keywords, and look after models.

Example:
    speechclip index ~/Pictures --model flickr8k-base-hybrid-plus --index pictures.index
    speechclip search --index pictures.index --wav query.wav
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import espnet_plugin
from espnet_plugin.bin import convert_checkpoint
from espnet_plugin.bin import demo as page
from espnet_plugin.utils.command import (
    CommandParser,
    add_model_arguments,
    command_errors,
    positive,
    seconds,
    text_table,
)

if TYPE_CHECKING:
    from espnet_plugin.inference.speechclip import SpeechCLIP


def get_parser() -> argparse.ArgumentParser:
    """The command line; what a command needs is imported when it runs."""
    parser = CommandParser(prog="speechclip", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {espnet_plugin.__version__}"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> Any:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        added.add_argument("--json", action="store_true", help="print JSON, for other programs")
        return added

    command("models", models, "List the released models and their names.")

    added = command("info", info, "Say what a model is, or what an index holds.")
    added.add_argument("model", metavar="MODEL", help="a model, or an index of pictures")

    added = command("embed", embed, "Embed recordings, pictures and texts as rows of one space.")
    add_model_arguments(added)
    _branch_option(added)
    added.add_argument("files", nargs="*", metavar="FILE", help="recordings and pictures")
    added.add_argument("--text", action="append", default=[], help="a text; may be repeated")
    added.add_argument("--output", type=Path, help="file.npz with the arrays items, embeddings")

    added = command("keywords", keywords, "Print the words that a model hears, with their times.")
    add_model_arguments(added)
    added.add_argument("files", nargs="+", metavar="CLIP", help="recordings")

    added = command("index", index, "Index folders of pictures, or bring their index up to date.")
    added.add_argument("folders", nargs="*", metavar="DIR", help="folders; default: as last time")
    added.add_argument("--index", required=True, type=Path, help="where the index lies")
    add_model_arguments(added, required=False, hears=False)
    added.add_argument("--batch_size", type=positive, default=64, help="pictures at a time (64)")
    added.add_argument(
        "--force", action="store_true", help="make an index of another model anew with this one"
    )
    added.add_argument(
        "--approximate",
        action="store_true",
        help="search approximately at any size (default: from a million pictures on)",
    )

    added = command("search", search, "Find images by voice, text or another image.")
    added.add_argument("--index", required=True, type=Path, help="made by speechclip index")
    add_model_arguments(added, required=False)
    _branch_option(added)
    query = added.add_argument_group("what to look for, each as often as you like")
    query.add_argument("--wav", action="append", default=[], metavar="FILE", help="a recording")
    query.add_argument("--text", action="append", default=[], help="a text")
    query.add_argument("--image", action="append", default=[], metavar="FILE", help="a picture")
    query.add_argument(
        "--mic", nargs="?", type=seconds, const="5s", metavar="TIME", help="listen for 5s or TIME"
    )
    query.add_argument(
        "--minus",
        action="append",
        default=[],
        metavar="WHAT",
        help="less of this: a text, or a file with a recording or a picture",
    )
    added.add_argument("--top", type=positive, default=10, help="how many pictures (10)")
    added.add_argument("--exact", action="store_true", help="also in an approximate index")
    added.add_argument("--paths", action="store_true", help="print bare paths")

    text = "Serve a page to try a model in the browser."
    added = commands.add_parser("demo", help=text, description=text)
    added.set_defaults(run=page.serve_page)
    page.add_arguments(added)

    added = command("convert", convert, "Convert a checkpoint of the original authors.")
    convert_checkpoint.add_arguments(added)
    return parser


def _branch_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--branch", choices=("parallel", "cascaded", "both"), help="whose embeddings of speech"
    )


@command_errors("speechclip")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs a command; bad input ends it with one message and exit code 1."""
    given = sys.argv[1:] if cmd is None else cmd
    args = get_parser().parse_args(given or ["--help"])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # not every file's name is text
    try:
        args.run(args)
    except KeyboardInterrupt:
        sys.exit("speechclip: interrupted; what was finished is kept")


def _answer(args: argparse.Namespace, data: Any, text: str) -> None:
    print(json.dumps(data, indent=2) if args.json else text)


def models(args: argparse.Namespace) -> None:
    """Lists the released models."""
    from humanfriendly import format_size

    from espnet_plugin.pretrained.released import released_models
    from espnet_plugin.pretrained.released_cache import fetched

    data, table = [], []
    for model in released_models():
        here = fetched(model)
        size = here.size if here else model.size
        data.append({**asdict(model), "size": size, "downloaded": here is not None})
        shown = format_size(size or model.frozen_size, binary=True)
        table.append(
            (
                *(model.name, model.architecture, model.speech_encoder, model.clip, model.corpus),
                f"{model.recall:.2f} % @{model.recall_at}",
                shown if size else f"about {shown}",
                "yes" if here else "no",
            )
        )
    header = ("name", "architecture", "speech encoder", "CLIP", "corpus", "published recall",
              "download", "here")  # fmt: skip
    _answer(args, data, text_table([header, *table]))


def info(args: argparse.Namespace) -> None:
    """Describes a model or an index."""
    from espnet_plugin.search.index import describe_index, is_index

    if is_index(args.model):
        from humanfriendly import format_size

        described = describe_index(args.model)
        shown = {**described, "bytes": format_size(described["bytes"], binary=True)}
    else:
        from espnet_plugin.pretrained.description import describe_model

        described = shown = describe_model(args.model)
    lines = [
        ("" if number else name.replace("_", " "), value)
        for name, values in shown.items()
        for number, value in enumerate(values if isinstance(values, list) else [values])
    ]
    _answer(args, described, text_table(lines))


def embed(args: argparse.Namespace) -> None:
    """Embeds files and texts."""
    from espnet_plugin.inference.readable import keep_readable

    if not (args.files or args.text) or not (args.output or args.json):
        raise ValueError("give files or --text, and --output file.npz or --json")
    files = keep_readable(args.files, others=bool(args.text))
    from espnet_plugin.inference.by_name import embed_by_name, write_embeddings

    rows = embed_by_name(_load(args, args.model), files, args.text, branch=args.branch)
    if args.output:
        write_embeddings(args.output, rows)
    if args.json:
        print(json.dumps([{"item": item, "embedding": row.tolist()} for item, row in rows]))


def keywords(args: argparse.Namespace) -> None:
    """Prints what is heard in recordings."""
    from espnet_plugin.inference.readable import keep_readable

    files = keep_readable(args.files)
    from espnet_plugin.inference.by_name import keywords_by_name

    heard = keywords_by_name(_load(args, args.model), files)
    rows = [
        (
            *(file, keyword.word, f"{keyword.score:.3f}"),
            *("" if time is None else f"{time:.2f} s" for time in (keyword.start, keyword.end)),
        )
        for file, found in heard.items()
        for keyword in found
    ]
    data = [
        {"path": file, "keywords": [asdict(keyword) for keyword in found]}
        for file, found in heard.items()
    ]
    _answer(args, data, text_table([("recording", "word", "score", "start", "end"), *rows]))


def index(args: argparse.Namespace) -> None:
    """Indexes pictures."""
    from espnet_plugin.search.approximate import AUTOMATIC
    from espnet_plugin.search.encoder import ClipEncoder
    from espnet_plugin.search.index import PictureIndex, is_index
    from espnet_plugin.search.model import identify_model
    from espnet_plugin.search.update import update_index

    if args.model is None and not is_index(args.index):
        raise ValueError(f"{args.index}: a new index needs --model")
    model = identify_model(args.model or PictureIndex(args.index).model.name)
    trusted = args.trust_remote_code
    done = update_index(
        args.index,
        args.folders,
        model=model,
        encoder=ClipEncoder(model.name, device=args.device, trust_remote_code=trusted),
        force=args.force,
        batch_size=args.batch_size,
        approximate_from=1 if args.approximate else AUTOMATIC,
    )
    _answer(args, asdict(done), str(done))


def search(args: argparse.Namespace) -> None:
    """Ranks the pictures of an index."""
    from espnet_plugin.search.index import PictureIndex
    from espnet_plugin.search.query import Embedder, check_files, combine

    if not (args.wav or args.text or args.image or args.mic):
        raise ValueError("say what to look for: --wav, --text, --image or --mic")
    pictures = PictureIndex(args.index)
    check_files(args.wav, args.image, args.minus)
    if args.mic:
        from espnet_plugin.search.microphone import RATE, record

        heard = record(args.mic)
    model = pictures.model_at_hand(args.model)
    embedder = Embedder(_load(args, model.name), branch=args.branch)
    wanted = [
        *map(embedder.recording, args.wav),
        *map(embedder.text, args.text),
        *map(embedder.picture, args.image),
    ]
    if args.mic:
        wanted.append(embedder.samples(heard, sampling_rate=RATE))
    query = combine(wanted, [embedder.anything(what) for what in args.minus])
    hits = pictures.search(query, top=args.top, exact=args.exact)
    if args.paths:
        print("\n".join(hit.path for hit in hits))
        return
    rows = [(number, f"{hit.score:.3f}", hit.path) for number, hit in enumerate(hits, 1)]
    _answer(args, [asdict(hit) for hit in hits], text_table([("", "score", "picture"), *rows]))


def convert(args: argparse.Namespace) -> None:
    """Converts a released checkpoint."""
    report = convert_checkpoint.convert(args)
    _answer(args, asdict(report), str(report))


def _load(args: argparse.Namespace, model: str) -> SpeechCLIP:
    from espnet_plugin.inference.speechclip import SpeechCLIP

    limit = {} if args.max_seconds is None else {"max_seconds": args.max_seconds}
    return SpeechCLIP.from_pretrained(
        model, device=args.device, trust_remote_code=args.trust_remote_code, **limit
    )


if __name__ == "__main__":
    main()
