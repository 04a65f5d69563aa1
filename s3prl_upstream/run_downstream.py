"""s3prl's own downstream runner with ``speechclip_plus`` among its upstreams, on current packages.

Takes the options of s3prl's run_downstream.py unchanged. ``-c`` defaults to our configuration of
the task, ``--device`` to what there is.

Example:
    python -m s3prl_upstream.run_downstream -m train -u speechclip_plus -k MODEL \
        -d fluent_commands -p result/ic -o "config.downstream_expert.datarc.file_path=DATA"
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from s3prl_upstream import import_hook

import_hook.install()  # at module level: spawned children import it

CONF = Path(__file__).resolve().parent / "superb" / "conf"
UNKNOWN = "???"
OWN_FILES = "conf:"  # prefix of our own files in our configurations


def main(cmd: Sequence[str] | None = None) -> None:
    """Runs s3prl's runner."""
    logging.basicConfig(level=logging.INFO)
    arguments = complete_arguments(list(sys.argv[1:] if cmd is None else cmd), os.environ)
    if _value_of(arguments, "--device") == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the runner asks a GPU for its memory otherwise
    from s3prl_upstream.superb.bridge import bridge

    bridge(_cache_directory(arguments))
    runner = importlib.import_module("s3prl.run_downstream")
    _resolve_own_files(runner)
    _train_what_f_says(importlib.import_module("s3prl.downstream.runner").Runner)
    sys.argv = [runner.__file__, *arguments]
    runner.main()


def complete_arguments(arguments: list[str], environment: dict[str, str] | Any) -> list[str]:
    """The arguments with our defaults.

    Args:
        arguments: As given.
        environment: Variables of the process.
    """
    arguments = [
        argument.replace("--local-rank", "--local_rank", 1) for argument in arguments
    ]  # torch 2 writes it so
    extra: list[str] = []
    task = _value_of(arguments, "-d", "--downstream")
    config = CONF / f"{task}.yaml"
    is_new = not _has(arguments, "-e", "--past_exp")
    if task and is_new and not _has(arguments, "-c", "--config") and config.is_file():
        extra += ["-c", str(config)]
    if not _has(arguments, "--device"):
        import torch

        if not torch.cuda.is_available():
            extra += ["--device", "cpu"]
    if "LOCAL_RANK" in environment and not _has(arguments, "--local_rank"):
        extra += ["--local_rank", environment["LOCAL_RANK"]]  # torchrun
    return arguments + extra


def _has(arguments: Sequence[str], *names: str) -> bool:
    return _value_of(arguments, *names) is not None


def _value_of(arguments: Sequence[str], *names: str) -> str | None:
    for position, argument in enumerate(arguments):
        for name in names:
            if argument == name:
                return arguments[position + 1] if position + 1 < len(arguments) else ""
            if name.startswith("--") and argument.startswith(f"{name}="):
                return argument[len(name) + 1 :]
            is_short = len(name) == 2 and not argument.startswith("--")
            if is_short and argument.startswith(name):
                return argument[2:].removeprefix("=")
    return None


def _cache_directory(arguments: Sequence[str]) -> Path:
    directory = _value_of(arguments, "-p", "--expdir")
    if directory is None:
        name = _value_of(arguments, "-n", "--expname")
        directory = f"result/downstream/{name}"
        past = _value_of(arguments, "-e", "--past_exp")
        if name is None and past is not None:
            directory = past if Path(past).is_dir() else str(Path(past).parent)
    return Path(directory) / "cache"


def _resolve_own_files(runner: Any) -> None:
    """Our configurations name our vocabularies from anywhere: conf:vocab/characters.txt."""
    get_arguments = runner.get_downstream_args

    def get_downstream_args() -> Any:
        args, config, files = get_arguments()
        config = resolve_own_files(config)
        missing = list(missing_paths(config))
        if missing:
            options = ",,".join(f"{key}=..." for key in missing)
            raise SystemExit(f'Error: say where the data are: -o "{options}"')
        return args, config, files

    runner.get_downstream_args = get_downstream_args


def resolve_own_files(value: Any) -> Any:
    """A configuration with ``conf:...`` replaced by paths in this package."""
    if isinstance(value, dict):
        return {key: resolve_own_files(item) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve_own_files(item) for item in value]
    if isinstance(value, str) and value.startswith(OWN_FILES):
        return str(CONF / value[len(OWN_FILES) :])
    return value


def missing_paths(value: Any, name: str = "config") -> Iterator[str]:
    """Names, as ``-o`` takes them, of the values that only the user can know."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from missing_paths(item, f"{name}.{key}")
    elif value == UNKNOWN:
        yield name


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
