"""Search images and recordings by voice, find keywords in speech, and look after models.

Example:
    speechclip index ~/Pictures --model flickr8k-base-hybrid-plus --index images.index
    speechclip search --index images.index --wav query.wav
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import espnet_plugin
from espnet_plugin.utils.command import (
    CommandParser,
    add_model_arguments,
    command_errors,
    positive,
    require_packages,
    seconds,
    share,
    size,
    text_table,
)
from espnet_plugin.utils.compatibility import ReferenceCompatibility
from espnet_plugin.utils.files import file_problem, require_files
from espnet_plugin.utils.progress import counted

if TYPE_CHECKING:
    from espnet_plugin.apps.search.index import Hit
    from espnet_plugin.data.words import SpokenWord
    from espnet_plugin.inference.speechclip import SpeechCLIP

KINDS = {"images": "image", "recordings": "recording"}
WORDS = 12  # that info shows
HOST, PORT = "127.0.0.1", 7860
MODEL = "--model flickr8k-base-hybrid-plus"  # of the examples
Run = Callable[[argparse.Namespace], None]


def get_parser() -> argparse.ArgumentParser:
    """The command line; what a command needs is imported when it runs."""
    parser = CommandParser(prog="speechclip", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {espnet_plugin.__version__}"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(run: Run, options: Callable[[Any], object], text: str, *examples: str) -> None:
        shown = (f"  speechclip {run.__name__} {example}".rstrip() for example in examples)
        added = commands.add_parser(
            run.__name__,
            help=text,
            description=text,
            epilog="\n".join(["example:", *shown]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,  # it stands with the special options
        )
        added.set_defaults(run=run)
        options(added)

    command(models, _special, "List the released models and their names.", "")
    text = "Describe a model, or an index."
    command(info, _info_options, text, "flickr8k-base-hybrid-plus", "my.index")
    text = "Embed recordings, images and texts as rows of one space."
    command(embed, _embed_options, text, f"query.wav dog.jpg {MODEL} --output rows.npz")
    text = "Print the words in recordings with their times, or write them."
    examples = f"talk.wav {MODEL}", f"~/Talks {MODEL} --output words.tsv"
    command(keywords, _keywords_options, text, *examples)
    text = "Write a page and a table of the words in recordings, with snippets to listen to."
    command(glossary, _glossary_options, text, f"~/Talks {MODEL} --output glossary")
    text = "Index folders of images and recordings."
    examples = f"~/Pictures ~/Talks {MODEL} --index my.index", "--index my.index"
    command(index, _index_options, text, *examples)
    text = "Find images and recordings by voice, text or image."
    command(search, _search_options, text, "--index my.index --wav query.wav")
    text = "Serve a demo page: speak, write or show an image, and see what is found."
    command(demo, _demo_options, text, "--index my.index")
    text = "Convert a checkpoint of the original authors."
    command(convert, _convert_options, text, "hybrid_plus_base.ckpt converted")
    return parser


def _info_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model, or an index")
    _special(parser)


def _embed_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE", help="recordings and images")
    options = parser.add_argument_group("options")
    options.add_argument("--text", action="append", default=[], help="a text; may be repeated")
    options.add_argument("--output", type=Path, help="file.npz of arrays items, embeddings")
    parts = parser.add_argument_group("parts of many files")
    text = (
        "write part I of N as Parquet into the folder --output, for index --from or a database; a "
        "FILE may be a folder"
    )
    parts.add_argument("--part", type=share, metavar="I/N", help=text)
    parts.add_argument("--parts", type=positive, metavar="N", help="write N parts on --cluster")
    text = "Dask's: local, tcp://HOST:PORT, slurm, ... or ESPnet3's YAML file"
    parts.add_argument("--cluster", help=text)
    parts.add_argument("--workers", type=positive, default=2, help="workers to start (2)")
    special = _special(parser, model=True, required=True, speech=True, branch=True)
    text = "embed the silence at both ends of recordings, too"
    special.add_argument("--no_trim", dest="trim", action="store_false", help=text)


def _keywords_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="RECORDING", help="recordings, or folders")
    options = parser.add_argument_group("options")
    text = (
        "write a table that ends in .tsv; or a folder, with the table and, of each recording, a "
        ".TextGrid for Praat and an .eaf for ELAN"
    )
    options.add_argument("--output", type=Path, help=text)
    _min_score(options)
    _special(parser, model=True, required=True)


def _glossary_options(parser: argparse.ArgumentParser) -> None:
    text = "folder of recordings, data directory with wav.scp, recording, or an index"
    parser.add_argument("data", type=Path, metavar="DATA", help=text)
    options = parser.add_argument_group("options")
    text = "folder to write; a glossary there is replaced"
    options.add_argument("--output", type=Path, required=True, metavar="DIR", help=text)
    options.add_argument("--number", type=positive, default=5, help="places of each keyword (5)")
    _min_score(options)
    _special(parser, model=True)


def _index_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="*", metavar="DIR", help="folders; default: as last time")
    options = parser.add_argument_group("options")
    _index(options)
    text = "add what embed --part wrote there"
    options.add_argument("--from", dest="parts", type=Path, metavar="DIR", help=text)
    options.add_argument("--force", action="store_true", help="make the index again for this model")
    special = _special(parser, model=True)
    special.add_argument("--batch_size", type=positive, default=64, help="images at a time (64)")


def _search_options(parser: argparse.ArgumentParser) -> None:
    query = parser.add_argument_group("query; each option may be repeated")
    query.add_argument("--wav", action="append", default=[], metavar="FILE", help="a recording")
    query.add_argument("--text", action="append", default=[], help="a text")
    query.add_argument("--image", action="append", default=[], metavar="FILE", help="an image")
    text = "record so long from the microphone (5s); needs the extra mic"
    query.add_argument("--mic", nargs="?", type=seconds, const="5s", metavar="TIME", help=text)
    options = parser.add_argument_group("options")
    _index(options)
    options.add_argument("--top", type=positive, default=10, help="how many of each kind (10)")
    options.add_argument("--only", choices=KINDS, help="leave out the other kind")
    options.add_argument("--paths", action="store_true", help="print paths only")
    _special(parser, model=True, speech=True, branch=True)


def _demo_options(parser: argparse.ArgumentParser) -> None:
    options = parser.add_argument_group("options")
    _index(options, required=False)
    options.add_argument("--data", type=Path, help="data directory; its recordings can be played")
    options.add_argument("--host", default=HOST, help=f"address to listen at ({HOST})")
    options.add_argument("--port", type=int, default=PORT, help=f"its port, 0: any ({PORT})")
    options.add_argument("--max_size", type=size, default="10MB", help="largest upload (10MB)")
    options.add_argument("--max_duration", type=seconds, default="60s", help="longest speech (60s)")
    _min_score(options)
    _special(parser, model=True, speech=True, json=False)


def _convert_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="Lightning checkpoint, as released")
    parser.add_argument("out_dir", help="directory for the converted model")
    special = _special(parser)
    names = [field.name for field in fields(ReferenceCompatibility)]
    text = (
        "behaviours of the original to switch on, see docs/parity.md; embeddings of single "
        "utterances need none"
    )
    special.add_argument("--compatibility", nargs="*", default=[], choices=names, help=text)
    special.add_argument("--force", action="store_true", help="replace out_dir if it is not empty")


def _special(
    parser: argparse.ArgumentParser,
    *,
    model: bool = False,
    required: bool = False,
    speech: bool = False,
    branch: bool = False,
    json: bool = True,
) -> argparse._ArgumentGroup:
    """Adds the options that few need, after those of the model."""
    if model:
        add_model_arguments(
            parser, "--model", required=required, default="" if required else "the index's"
        )
    group = parser.add_argument_group("special options")
    if model:
        group.add_argument("--device", help="torch device (default: a GPU if there is one)")
    if speech:
        text = (
            "only the beginning of a longer recording is used (400s); a minute takes about 1 GB of "
            "memory. Keywords can end earlier"
        )
        group.add_argument("--max_seconds", type=seconds, metavar="TIME", help=text)
    if branch:
        text = "branch that embeds speech; both: fusion (default: selected on dev, else parallel)"
        group.add_argument("--branch", choices=("parallel", "cascaded", "both"), help=text)
    if json:
        group.add_argument("--json", action="store_true", help="print JSON, for other programs")
    group.add_argument("-h", "--help", action="help", help="show this text and exit")
    return group


def _index(parser: Any, *, required: bool = True) -> None:
    parser.add_argument("--index", required=required, help="a folder of speechclip index")


def _min_score(parser: Any) -> None:
    text = "leave out sub-words with a lower cosine (default: the model's, selected on dev)"
    parser.add_argument("--min_score", type=float, help=text)


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


def models(args: argparse.Namespace) -> None:
    """Lists the released models."""
    from espnet_plugin.pretrained.description import describe_released, released_table

    described = describe_released()
    _answer(args, described, text_table(released_table(described)))


def info(args: argparse.Namespace) -> None:
    """Describes a model or an index."""
    from espnet_plugin.apps.search.index import Index, is_index

    if is_index(args.model):
        from espnet_plugin.utils.disk import size_text

        described = Index(args.model).describe()
        described["hours"] = round(described["hours"], 3)
        shown = {**described, "bytes": size_text(described["bytes"])}
    else:
        from espnet_plugin.pretrained.description import describe_model

        described = describe_model(args.model)
        words = described["words"]
        more = [f"and {len(words) - WORDS:,} more"] if len(words) > WORDS else []
        shown = {**described, "words": ", ".join(words[:WORDS] + more) or "none"}
    lines = [
        ("" if number else name.replace("_", " ").replace("clip", "CLIP"), value)
        for name, values in shown.items()
        for number, value in enumerate(values if isinstance(values, list) else [values])
    ]
    _answer(args, described, text_table(lines))


def embed(args: argparse.Namespace) -> None:
    """Embeds files and texts, or a part of many files."""
    if args.part or args.parts or args.cluster:
        return _embed_parts(args)
    if not (args.files or args.text) or not (args.output or args.json):
        raise ValueError("give files or --text, and --output file.npz or --json")
    if args.output and (args.output.suffix != ".npz" or args.output.is_dir()):
        raise ValueError(
            f"{args.output}: name a file that ends in .npz, or write Parquet into a folder, with "
            "--part 1/1"
        )
    require_files(args.files)
    from espnet_plugin.inference.by_name import embed_by_name, write_embeddings

    how = {"branch": args.branch, "trim": args.trim}
    rows = embed_by_name(_load(args, args.model), args.files, args.text, **how)
    if args.output:
        write_embeddings(args.output, rows)
    if args.json:
        print(json.dumps([{"item": item, "embedding": row.tolist()} for item, row in rows]))


def _embed_parts(args: argparse.Namespace) -> None:
    from espnet_plugin.apps.search.cluster import run_parts, write_part
    from espnet_plugin.apps.search.model import identify_model

    if not (args.files and args.output) or args.text or args.branch or not args.trim:
        raise ValueError("parts need FILE and --output, and no --text, --branch or --no_trim")
    if bool(args.cluster) != bool(args.parts) or bool(args.cluster) == bool(args.part):
        raise ValueError("give --part I/N, or --parts N with --cluster")
    output = args.output.absolute()  # a worker may run in another folder
    sources = [os.path.abspath(os.path.expanduser(file)) for file in args.files]
    model = identify_model(args.model).name
    write = partial(write_part, sources=sources, output=output, model=model, **_loading(args))
    if args.part:
        made = [write(args.part)]
    else:
        where = {"cluster": args.cluster, "workers": args.workers}
        made = run_parts(write, parts=args.parts, **where)
    skipped = sum(len(part.skipped) for part in made)
    done = f"{counted(len(made), 'part')} in {output}, {counted(skipped, 'file')} left out"
    _answer(args, list(map(asdict, made)), done)


def keywords(args: argparse.Namespace) -> None:
    """Prints or writes the keywords of recordings."""
    from espnet_plugin.apps.glossary import find_recordings
    from espnet_plugin.data.english import translation_note
    from espnet_plugin.inference.by_name import heard_by_name
    from espnet_plugin.inference.word_tables import check_output, write_words

    if args.output:
        check_output(args.output)
    given = (find_recordings(f).values() if os.path.isdir(f) else [f] for f in args.files)
    files = list(dict.fromkeys(chain.from_iterable(given)))
    if all(map(file_problem, files)):
        require_files(files)  # before the model is loaded
    problems: dict[str, str] = {}
    model = _load(args, args.model)
    heard = heard_by_name(model, {file: file for file in files}, problems)
    note = translation_note(model.spoken_languages)
    if args.output:
        data = {"output": str(args.output), **write_words(args.output, heard, files)}
        shown = text_table(data.items())
    else:
        found = {file: words for file, _, words in heard}
        data = [{"path": f, "keywords": list(map(asdict, words))} for f, words in found.items()]
        shown = _word_table(found)
    _answer(args, data, "\n\n".join(filter(None, [shown, note])))
    if problems:
        number = counted(len(files), "recording")
        sys.exit(f"speechclip: {len(problems):,} of {number} left out; the warnings say why")


def _word_table(found: Mapping[str, Sequence[SpokenWord]]) -> str:
    rows: list[tuple[str, ...]] = [("recording", "word", "score", "start", "end")]
    for file, words in found.items():
        for word in words:
            times = ["" if time is None else f"{time:.2f} s" for time in (word.start, word.end)]
            rows.append((file, word.word, f"{word.score:.3f}", *times))
    return text_table(rows)


def glossary(args: argparse.Namespace) -> None:
    """Writes the clearest places of each keyword."""
    from espnet_plugin.apps.glossary import Glossary, find_recordings, words_of_index
    from espnet_plugin.apps.glossary_folder import PAGE, check_glossary_folder, write_glossary
    from espnet_plugin.apps.search.index import Index, is_index
    from espnet_plugin.data.english import translation_note
    from espnet_plugin.inference.by_name import heard_by_name
    from espnet_plugin.pretrained.storage import read_spoken_languages

    check_glossary_folder(args.output, args.data)
    problems: dict[str, str] = {}
    if is_index(args.data):
        opened = Index(args.data)
        name = opened.model_at_hand(args.model).name if args.model else opened.model.name
        heard = words_of_index(opened, problems, min_score=args.min_score)
        languages = read_spoken_languages(name)
    else:
        recordings = find_recordings(args.data)
        if not args.model:
            raise ValueError(f"{args.data}: not an index, so --model is needed")
        from espnet_plugin.apps.search.encoder import words_of_file

        model = _load(args, args.model)
        heard = heard_by_name(model, recordings, problems, hear=partial(words_of_file, model))
        languages = model.spoken_languages
    found = Glossary(args.number)
    for recording in heard:
        found.add(*recording)
    entries, note = found.entries(), translation_note(languages)
    about = {"recordings": found.recordings, "problems": problems, "note": note}
    snippets = write_glossary(args.output, entries, **about)
    made = {"keywords": len(entries), "snippets": snippets, "recordings": found.recordings}
    lines = [("page", args.output / PAGE), *made.items()]
    lines += [("left out", f"{name}: {reason}") for name, reason in problems.items()]
    data = {"page": str(args.output / PAGE), **made, "left_out": problems}
    _answer(args, data, "\n\n".join(filter(None, [text_table(lines), note])))


def index(args: argparse.Namespace) -> None:
    """Indexes images and recordings."""
    from espnet_plugin.apps.search.index import Index, is_index
    from espnet_plugin.apps.search.model import identify_model
    from espnet_plugin.apps.search.update import check_folders, update_index

    new = not is_index(args.index)
    check_folders(Path(args.index), args.folders)
    given = args.model or (None if new else Index(args.index).model.name)
    embedded: Any = ()
    problems: dict[str, str] = {}
    if args.parts:
        from espnet_plugin.apps.search.parts import open_parts

        wanted = identify_model(given) if given else None
        model, embedded, problems = open_parts(args.parts, wanted)
    elif given:
        model = identify_model(given)
    else:
        raise ValueError(f"{args.index}: a new index needs --model")
    from espnet_plugin.apps.search.encoder import load_encoders

    done = update_index(
        args.index,
        args.folders,
        model=model,
        **load_encoders(model, **_loading(args)),
        embedded=embedded,
        problems=problems,
        force=args.force,
        batch_size=args.batch_size,
    )
    if new and not done.images + done.recordings:
        raise ValueError(f"{args.index}: nothing can be found in it: {done}")
    _answer(args, asdict(done), str(done))


def search(args: argparse.Namespace) -> None:
    """Ranks the images and the recordings of an index."""
    from espnet_plugin.apps.search.index import Index
    from espnet_plugin.apps.search.microphone import record
    from espnet_plugin.apps.search.query import check_query, embed_query

    index = Index(args.index)
    wanted = args.wav, args.text, args.image
    check_query(*wanted, spoken=args.mic is not None)
    model = _load(args, index.model_at_hand(args.model).name)
    spoken = record(args.mic) if args.mic is not None else None
    query = embed_query(model, *wanted, spoken=spoken, branch=args.branch)
    kinds = [kind for name, kind in KINDS.items() if args.only in (None, name)]
    found = {kind: index.search(query.vector, top=args.top, kind=kind) for kind in kinds}
    hits = [hit for each in found.values() for hit in each]
    if args.paths:
        for path in dict.fromkeys(hit.path for hit in hits):
            print(path)
    elif args.json:
        print(json.dumps([asdict(hit) for hit in hits], indent=2))
    else:
        shown = [f"heard: {_words_heard(query.words())}"] if query.heard else []
        tables = [_hit_table(kind, found[kind]) for kind in kinds if found[kind]]
        if not tables:
            names = [args.only] if args.only else list(KINDS)
            tables = [f"{args.index} has no {' or '.join(names)} that can be found"]
        print("\n\n".join([*shown, *tables]))


def _words_heard(words: Sequence[str] | None) -> str:
    return "the model gives no words" if words is None else " ".join(words) or "no words"


def _hit_table(kind: str, hits: Sequence[Hit]) -> str:
    rows: list[tuple[object, ...]] = [("", "score", kind)]
    if kind == "recording":
        rows = [("", "score", "start", "end", "recording", "words")]
    for number, hit in enumerate(hits, 1):
        times = [f"{time:.1f} s" for time in (hit.start, hit.end) if time is not None]
        words = [" ".join(word.word for word in hit.words)] if times else []
        rows.append((number, f"{hit.score:.3f}", *times, hit.path, *words))
    return text_table(rows)


def demo(args: argparse.Namespace) -> None:
    """Serves the demo page."""
    require_packages({"gradio": "gradio"}, extra="demo")
    from espnet_plugin.apps.demo.backend import open_backend
    from espnet_plugin.apps.demo.server import check_address, serve
    from espnet_plugin.apps.demo.uploads import Limits
    from espnet_plugin.apps.search.index import Index
    from espnet_plugin.media.utterance import MAX_SECONDS

    check_address(args.host, args.port)
    limits = Limits(size=args.max_size, seconds=args.max_duration)
    args.max_seconds = max(args.max_seconds or MAX_SECONDS, limits.seconds)
    index = Index(args.index) if args.index else None
    backend = open_backend(partial(_load, args), model=args.model, index=index, data=args.data)
    serve(backend, limits=limits, host=args.host, port=args.port)


def convert(args: argparse.Namespace) -> None:
    """Converts a released checkpoint; nothing in it is executed."""
    from espnet_plugin.pretrained.convert.converter import convert_checkpoint

    done = convert_checkpoint(
        args.checkpoint, args.out_dir, compatibility=args.compatibility, force=args.force
    )
    lines = [f"{done.source}: {done.architecture}", *(f"note: {note}" for note in done.notes)]
    _answer(args, asdict(done), "\n".join(lines))


def _answer(args: argparse.Namespace, data: Any, text: str) -> None:
    print(json.dumps(data, indent=2) if args.json else text)


def _load(args: argparse.Namespace, model: str) -> SpeechCLIP:
    from espnet_plugin.inference.speechclip import SpeechCLIP

    loaded = SpeechCLIP.from_pretrained(model, **_loading(args))
    if getattr(args, "min_score", None) is not None:
        loaded.min_score = args.min_score
    return loaded


def _loading(args: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(args, name, None) for name in ("device", "max_seconds")}
    known = {name: value for name, value in given.items() if value is not None}
    return {"trust_remote_code": args.trust_remote_code, **known}


if __name__ == "__main__":
    main()
