"""Answers what the recipe's scripts ask beside their stages: about Python, files and models.

Example: ``python -m espnet_plugin.bin.recipe value conf/train.yaml clip_conf.model ViT-B-32``
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from espnet_plugin.utils.command import command_errors

MAX_CONFIG_BYTES = 1 << 24
PACKAGES = ("torch", "espnet2", "open_clip", "espnet_plugin")


def check(args: argparse.Namespace) -> None:
    """Looks for packages and GPUs."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"{sys.executable} lacks {', '.join(missing)}")
    if args.ngpu > 0:
        import torch

        if torch.cuda.device_count() < args.ngpu:
            raise OSError(f"GPUs here for PyTorch: {torch.cuda.device_count()} of {args.ngpu}")


def value(args: argparse.Namespace) -> None:
    """Prints a value of a YAML file."""
    import yaml

    try:
        found: Any = yaml.safe_load(args.file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{args.file}: cannot be read: {error}") from error
    for key in args.key.split("."):
        if isinstance(found, list) and key.isdigit():
            found = dict(enumerate(found)).get(int(key))
        else:
            found = found.get(key) if isinstance(found, dict) else None
    print(args.default if found is None else found)


def training(args: argparse.Namespace) -> None:
    """Checks a training's options, and what the corpus and later stages say to them."""
    from espnet_plugin.model.factory import COMPONENTS, has_keywords
    from espnet_plugin.pretrained.trust import unsafe_parts
    from espnet_plugin.tasks.check import training_options
    from espnet_plugin.utils.options import is_own_class

    config = training_options(args.options)
    names = (config["model_conf"] or {}).get("naming_weight") and has_keywords(config)
    if names and args.no_captions:
        raise ValueError(
            "model_conf.naming_weight needs to know how often English words occur, and this corpus "
            "has no captions: add --vocab_text FILE (English sentences, or word<tab>count lines) "
            "or --vocab_text general, or set model_conf.naming_weight: 0"
        )
    own = any(is_own_class(config[key]) for key in COMPONENTS)
    if args.trust_remote_code or (config["speech_encoder"] == "s3prl" and not own):
        return
    with contextlib.suppress(FileNotFoundError):  # stage 1 may make the CLIP
        for part in unsafe_parts(config):
            raise ValueError(
                f"{args.options[1]} names {part}, which may run code: stage 8 would refuse the "
                "trained model without --trust_remote_code true"
            )


def model(args: argparse.Namespace) -> None:
    """Finds a model."""
    from espnet_plugin.pretrained.names import resolve_model

    try:
        print(resolve_model(args.model))
    except (OSError, ValueError) as error:
        raise ValueError(f"--model {error}") from error


def packed_config(args: argparse.Namespace) -> None:
    """Copies the configuration out of a packed model, as it is there."""
    try:
        with zipfile.ZipFile(args.packed_model) as archive:
            names = [name for name in archive.namelist() if name.endswith("config.yaml")]
            if not names:
                raise ValueError(f"{args.packed_model}: no config.yaml in it, so no packed model")
            with archive.open(min(names, key=len)) as member:
                args.output.write_bytes(member.read(MAX_CONFIG_BYTES))
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{args.packed_model}: damaged, or not a model's zip file") from error


def close(args: argparse.Namespace) -> None:
    """Prints the last lines of a run."""
    from espnet_plugin.evaluation.report.closing import closing_lines

    print("", *closing_lines(args.inference_dir), sep="\n")


def compare(args: argparse.Namespace) -> None:
    """Prints a table of models, and writes a page that compares them."""
    from espnet_plugin.evaluation.report.closing import shown_path
    from espnet_plugin.evaluation.report.comparison import compare_models
    from espnet_plugin.utils.command import text_table

    table, meaning = compare_models(args.inference_dirs, args.page, data_dir=args.data_dir)
    rule = ["-" * len(title) for title in table.header]
    print(text_table([table.header, rule, *table.rows]), "", meaning, "", sep="\n")
    print(f"Open:  {shown_path(args.page)}")


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    def command(run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(run.__name__, help=text, description=text)
        added.set_defaults(run=run)
        return added

    added = command(check, "Fail when packages are missing, or GPUs.")
    added.add_argument("--ngpu", type=int, default=0, help="GPUs that are needed")
    added = command(value, "Print one value of a YAML file.")
    added.add_argument("file", type=Path)
    added.add_argument("key", help="e.g. key.inner_key.0")
    added.add_argument("default", nargs="?", default="", help="where there is no such key")
    added = command(training, "Check the options of a training before anything starts.")
    added.add_argument("--no_captions", action="store_true", help="nobody wrote down what is said")
    added.add_argument("--trust_remote_code", action="store_true", help="as stage 8 has it")
    added.add_argument("options", nargs="*", metavar="-- OPTION", help="of speechclip_train")
    added = command(model, "Print where a model is; one that has only a name is downloaded.")
    added.add_argument("model", help="experiment, checkpoint, packed or exported model, or a name")
    added = command(packed_config, "Copy the configuration out of a packed model.")
    added.add_argument("packed_model", type=Path, help="model.zip")
    added.add_argument("output", type=Path, help="config.yaml")
    added = command(close, "Print the recall of a run and the page to open.")
    added.add_argument("--inference_dir", type=Path, required=True)
    added = command(compare, "Print a table of models, and write a page that compares them.")
    added.add_argument("inference_dirs", type=Path, nargs="+", help="with scores.json")
    added.add_argument("--data_dir", type=Path, required=True, help="the test set's")
    added.add_argument("--page", type=Path, required=True, help="HTML file to write")
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Runs one sub-command; what is wrong ends it with one message and exit code 1."""
    args = get_parser().parse_args(cmd)
    with command_errors(f"recipe {args.command}"):
        args.run(args)


if __name__ == "__main__":
    main()
