"""Answers what the recipe's scripts ask beside their stages: about Python, files and models.

Example: ``python -m espnet_plugin.bin.recipe options --config conf/train.yaml --stages 6 7``
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_plugin.utils.command import command_errors

if TYPE_CHECKING:
    from espnet_plugin.tasks.upstream import NamedEncoder

PACKAGES = ("torch", "espnet2", "open_clip", "espnet_plugin")


def options(args: argparse.Namespace) -> None:
    """Prints what follows from the options of a run, and refuses what a stage would fail at."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"{sys.executable} lacks {', '.join(missing)}. Make an environment with 'make env' in "
            "the project's root, or choose another with --python"
        )
    from espnet_plugin.tasks.upstream import NamedEncoder, parse_upstream

    config = _read_config(args.config)
    conf = partial(_value, config)
    upstream = NamedEncoder(
        conf("speech_encoder", "huggingface"),
        conf("speech_encoder_conf.model", "facebook/hubert-base-ls960"),
    )
    if args.speech_upstream:
        upstream = parse_upstream(args.speech_upstream)
    if not upstream.checkpoint:
        upstream = replace(upstream, checkpoint=conf("speech_encoder_conf.checkpoint"))
    clip_model = args.clip_model or conf("clip_conf.model", "ViT-B-32-quickgelu")
    clip_pretrained = args.clip_pretrained or conf("clip_conf.pretrained", "openai")
    here = Path(args.model).exists()
    phase, measure = (conf(f"best_model_criterion.0.{n}") for n in (0, 1))
    answers = {
        "model": _resolve(args.model) if args.model and not here else args.model,
        "speech_encoder": upstream.encoder,
        "upstream_name": upstream.model,
        "upstream_checkpoint": upstream.checkpoint,
        "normalize_waveform": conf("speech_encoder_conf.normalize_waveform"),
        "clip_model": clip_model,
        "clip_pretrained": clip_pretrained,
        "best_model": f"{phase or 'valid'}.{measure or 'recall_mean_at_1'}.ave.pth",
    }
    if {6, 7} & set(args.stages):
        _check_training(args, upstream, ["model=" + clip_model, "pretrained=" + clip_pretrained])
    if args.wanted_gpus:
        import torch

        if torch.cuda.device_count() < args.wanted_gpus:
            raise OSError(
                f"GPUs here for PyTorch: {torch.cuda.device_count()} of {args.wanted_gpus} "
                "(nvidia-smi and CUDA_VISIBLE_DEVICES tell more); --ngpu 0 --gpu_inference false "
                "does without"
            )
    for name, answer in answers.items():
        print(f"{name}={answer}")


def _check_training(args: argparse.Namespace, upstream: NamedEncoder, clip: Sequence[str]) -> None:
    """Checks a training's options, and what the corpus and later stages say to them."""
    from espnet_plugin.model.factory import COMPONENTS, has_keywords
    from espnet_plugin.pretrained.trust import unsafe_parts
    from espnet_plugin.tasks.check import training_options
    from espnet_plugin.tasks.upstream import require_upstream
    from espnet_plugin.utils.options import is_own_class

    config = training_options(
        [
            *("--config", str(args.config), "--speech_encoder", upstream.encoder),
            *("--speech_encoder_conf", f"model={upstream.model}"),
            *(word for option in clip for word in ("--clip_conf", option)),
            *args.training,
        ]
    )
    require_upstream(upstream, made_later=1 in args.stages)
    if 7 not in args.stages:
        return
    names = (config["model_conf"] or {}).get("naming_weight") and has_keywords(config)
    if names and args.no_captions:
        raise ValueError(
            "model_conf.naming_weight needs to know how often English words occur, and this corpus "
            "has no captions: add --vocab_text FILE (English sentences, or word<tab>count lines) "
            "or --vocab_text general, or set model_conf.naming_weight: 0"
        )
    own = any(is_own_class(config[key]) for key in COMPONENTS)
    trusted = args.trust_remote_code or 8 not in args.stages
    if trusted or (config["speech_encoder"] == "s3prl" and not own):
        return
    with contextlib.suppress(FileNotFoundError):  # stage 1 may make the CLIP
        for part in unsafe_parts(config):
            raise ValueError(
                f"{args.config} names {part}, which may run code: stage 8 would refuse the "
                "trained model without --trust_remote_code true"
            )


def _read_config(path: Path | None) -> Any:
    from espnet_plugin.utils import options
    from espnet_plugin.utils.small_files import read_yaml

    if path is None:
        return {}
    if not path.is_file():
        folders = {Path("conf"), Path("conf/tuning"), path.parent}
        known = {file.stem: file for folder in folders for file in folder.glob("*.yaml")}
        near = [str(known[name]) for name in options.nearest(path.stem, known)]
        meant = f" (did you mean {near[0]}?)" if near else "; conf/tuning has the recipe's"
        raise FileNotFoundError(f"--speechclip_config {path}: no such file{meant}")
    return read_yaml(path)


def _value(config: Any, key: str, default: str = "") -> str:
    """A value such as ``clip_conf.model`` or ``best_model_criterion.0.1``."""
    found = config
    for name in key.split("."):
        if isinstance(found, list) and name.isdigit():
            found = dict(enumerate(found)).get(int(name))
        else:
            found = found.get(name) if isinstance(found, dict) else None
    return default if found is None else str(found)


def model(args: argparse.Namespace) -> None:
    """Finds a model."""
    print(_resolve(args.model))


def _resolve(name: str) -> Path:
    from espnet_plugin.pretrained.names import resolve_model

    try:
        return resolve_model(name)
    except (OSError, ValueError) as error:
        raise ValueError(f"--model {error}") from error


def teachers(args: argparse.Namespace) -> None:
    """Fails unless an experiment names just these frozen models, and no class of somebody's own."""
    from espnet_plugin.model.factory import COMPONENTS
    from espnet_plugin.utils.options import is_own_class

    config = _read_config(args.config)
    keys = ("speech_encoder", "speech_encoder_conf.model", "speech_encoder_conf.checkpoint")
    named = [_value(config, key) for key in (*keys, "clip_conf.model")]
    if named != args.names or any(is_own_class(config.get(key)) for key in COMPONENTS):
        raise ValueError(f"{args.config}: names other frozen models, or a class of its own")


def nearest(args: argparse.Namespace) -> None:
    """Prints the option that was meant."""
    from espnet_plugin.utils import options

    print(options.did_you_mean(args.name, args.known))


def upload(args: argparse.Namespace) -> None:
    """Uploads a model that the recipe trained to Hugging Face, in one commit, with a card."""
    from espnet_plugin.inference.speechclip import SpeechCLIP

    model = SpeechCLIP.from_pretrained(args.packed_model, device="cpu", trust_remote_code=True)
    model.push_to_hub(args.repo)
    print(f'Uploaded. It loads with SpeechCLIP.from_pretrained("{args.repo}")')


def close(args: argparse.Namespace) -> None:
    """Prints the last lines of a run."""
    from espnet_plugin.evaluation.report.closing import closing_lines

    print("", *closing_lines(args.inference_dir, args.packed_model), sep="\n")


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

    added = command(options, "Check the options of a run, and print what follows from them.")
    added.add_argument("--config", type=_path_or_none, help="training configuration")
    for name in ("speech_upstream", "clip_model", "clip_pretrained", "model"):
        added.add_argument(f"--{name}", default="", help="as the recipe has it")
    added.add_argument("--stages", type=int, nargs="*", default=[], help="that will run")
    added.add_argument("--wanted_gpus", type=int, default=0, help="GPUs that are needed here")
    added.add_argument("--no_captions", action="store_true", help="nobody wrote down what is said")
    added.add_argument("--trust_remote_code", action="store_true", help="as stage 8 has it")
    added.add_argument("training", nargs="*", metavar="-- OPTION", help="of speechclip_train")
    added = command(teachers, "Fail unless an experiment names these frozen models.")
    added.add_argument("config", type=Path, help="the experiment's config.yaml")
    added.add_argument("names", nargs=4, help="speech encoder, its model and checkpoint, CLIP")
    added = command(nearest, "Print the option that was meant.")
    added.add_argument("name")
    added.add_argument("known", nargs="+")
    added = command(model, "Print where a model is; one that has only a name is downloaded.")
    added.add_argument("model", help="a model's folder, an experiment, a checkpoint, or a name")
    added = command(upload, "Upload a model that the recipe trained to Hugging Face.")
    added.add_argument("packed_model", type=Path, help="the model's folder")
    added.add_argument("repo", help="user/name")
    added = command(close, "Print the recall of a run and the page to open.")
    added.add_argument("--inference_dir", type=Path, required=True)
    added.add_argument("--packed_model", type=Path, help="that the run has made")
    added = command(compare, "Print a table of models, and write a page that compares them.")
    added.add_argument("inference_dirs", type=Path, nargs="+", help="with scores.json")
    added.add_argument("--data_dir", type=Path, required=True, help="the test set's")
    added.add_argument("--page", type=Path, required=True, help="HTML file to write")
    return parser


def _path_or_none(text: str) -> Path | None:
    return Path(text) if text else None


def main(cmd: Sequence[str] | None = None) -> None:
    """Runs one sub-command; what is wrong ends it with one message and exit code 1."""
    args = get_parser().parse_args(cmd)
    with command_errors(f"recipe {args.command}"):
        args.run(args)


if __name__ == "__main__":
    main()
