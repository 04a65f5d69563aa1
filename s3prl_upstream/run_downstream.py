"""s3prl's own downstream runner with ``speechclip_plus`` among its upstreams, on current packages.

Takes the options of s3prl's run_downstream.py unchanged. ``-c`` defaults to our configuration of
the task, ``--device`` to what there is.

Example:
    python -m s3prl_upstream.run_downstream -m train -u speechclip_plus -k MODEL \
        -d fluent_commands -p result/ic -o "config.downstream_expert.datarc.file_path=DATA"
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s3prl_upstream import register
from s3prl_upstream.runner_checks import MODES, check_arguments, check_data
from s3prl_upstream.superb.conf import CONF, resolve_own_files


def main(cmd: Sequence[str] | None = None) -> None:
    """Runs s3prl's runner; a wrong name of anything ends it with one message."""
    logging.basicConfig(level=logging.INFO)
    arguments = list(sys.argv[1:] if cmd is None else cmd)
    try:
        check_arguments(_read(arguments))
    except (OSError, ValueError) as error:
        sys.exit(f"run_downstream: error: {error}")
    arguments = complete_arguments(arguments, os.environ)
    if _read(arguments).device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the runner asks a GPU for its memory otherwise
    from s3prl_upstream.superb.bridge import bridge

    bridge(_cache_directory(arguments))
    register()
    runner = importlib.import_module("s3prl.run_downstream")
    _resolve_own_files(runner)
    _train_what_f_says(importlib.import_module("s3prl.downstream.runner").Runner)
    sys.argv = [runner.__file__, *arguments]
    runner.main()


def complete_arguments(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The arguments with our defaults.

    Args:
        arguments: As given.
        environment: Variables of the process.
    """
    arguments = [
        argument.replace("--local-rank", "--local_rank", 1) for argument in arguments
    ]  # torch 2 writes it so
    given = _read(arguments)
    extra: list[str] = []
    config = CONF / f"{given.downstream}.yaml"
    if given.config is None and given.past_exp is None and config.is_file():
        extra += ["-c", str(config)]
    if given.device is None:
        import torch

        if not torch.cuda.is_available():
            extra += ["--device", "cpu"]
    if given.local_rank is None and "LOCAL_RANK" in environment:
        extra += ["--local_rank", environment["LOCAL_RANK"]]  # torchrun
    return arguments + extra


def get_parser() -> argparse.ArgumentParser:
    """Those of s3prl's options that matter here; it is s3prl that takes them, and all others."""
    parser = argparse.ArgumentParser(
        prog="python -m s3prl_upstream.run_downstream",
        description=__doc__.splitlines()[0],
        epilog="All other options of s3prl's run_downstream.py go to it unchanged; s3prl's "
        "downstream/README.md tells them.",
        allow_abbrev=False,
    )
    parser.add_argument("-m", "--mode", help=", ".join(MODES))
    parser.add_argument("-u", "--upstream", help="speechclip_plus, or any upstream of s3prl")
    parser.add_argument("-k", "--upstream_ckpt", help="the model: a directory, a zip or a name")
    parser.add_argument("-a", "--auto_resume", action="store_true", help="go on where -p stopped")
    parser.add_argument("--hub", help="where the upstream comes from: torch or huggingface")
    parser.add_argument("-f", "--upstream_trainable", action="store_true", help="fine-tune it")
    parser.add_argument("-d", "--downstream", help="the task, a folder of s3prl/downstream")
    parser.add_argument("-c", "--config", help="of the task; by default ours, where there is one")
    parser.add_argument("-o", "--override", help="changes to it: config.a.b=c,,config.d=e")
    parser.add_argument("-p", "--expdir", help="where the experiment goes")
    parser.add_argument("-n", "--expname", help="or its name: result/downstream/NAME")
    parser.add_argument("-e", "--past_exp", help="an experiment, or its checkpoint, to go on with")
    parser.add_argument("--device", help="cpu or cuda; by default what there is")
    parser.add_argument("--local_rank", help="of this process, under torchrun")
    return parser


def _read(arguments: Sequence[str]) -> argparse.Namespace:
    return get_parser().parse_known_args(arguments)[0]


def _cache_directory(arguments: Sequence[str]) -> Path:
    given = _read(arguments)
    if given.expdir is None and given.expname is None and given.past_exp is not None:
        past = Path(given.past_exp)
        return (past if past.is_dir() else past.parent) / "cache"
    return Path(given.expdir or f"result/downstream/{given.expname}") / "cache"


def _resolve_own_files(runner: Any) -> None:
    """Our configurations name our vocabularies from anywhere: conf:vocab/characters.txt."""
    get_arguments = runner.get_downstream_args

    def get_downstream_args() -> Any:
        args, config, files = get_arguments()
        config = resolve_own_files(config)
        try:
            check_data(args.downstream, config)  # as a past experiment's checkpoint has it
        except (OSError, ValueError) as error:
            sys.exit(f"run_downstream: error: {error}")
        return args, config, files

    runner.get_downstream_args = get_downstream_args


def _train_what_f_says(runner_class: type) -> None:
    """Our upstream is frozen unless told otherwise; s3prl tells it with ``-f`` only here."""
    initialise = runner_class._init_model

    def _init_model(
        self: Any, model: Any, name: str, trainable: bool, interfaces: Any = None
    ) -> Any:
        if name == "Upstream" and trainable and hasattr(model, "set_trainable"):
            model.set_trainable(model.trainable or True)
        return initialise(self, model, name, trainable, interfaces)

    runner_class._init_model = _init_model


if __name__ == "__main__":
    main()
