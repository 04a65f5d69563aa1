"""Runs s3prl's own downstream runner on current packages; ``speechclip_plus`` is an upstream.

It takes the options of s3prl's run_downstream.py. ``-c`` defaults to our configuration of the task,
``--device`` to a GPU where there is one.

Example:
    python -m s3prl_upstream.run_downstream -m train -u speechclip_plus -k MODEL \
        -d fluent_commands -p result/ic -o "config.downstream_expert.datarc.file_path=DATA"
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.utils.command import command_errors
from espnet_plugin.utils.small_files import read_yaml
from s3prl_upstream import UPSTREAMS, register
from s3prl_upstream.patches import patch_runner
from s3prl_upstream.superb.conf import CONF

MODES = ("train", "evaluate", "inference")
_PICKLE = b"\x80"  # first byte of what torch.save wrote before its zip format


def main(cmd: Sequence[str] | None = None) -> None:
    """Runs s3prl's runner; a wrong argument ends it with one message."""
    with command_errors("run_downstream"):
        arguments = list(sys.argv[1:] if cmd is None else cmd)
        given = _read(arguments)
        check_arguments(given)
        arguments = complete_arguments(arguments)
        patch_runner(device=_read(arguments).device)
        register()
        hub = importlib.import_module("s3prl.hub")
        if given.upstream and not hasattr(hub, given.upstream):
            raise ValueError(f"-u {given.upstream}: s3prl has no such upstream")
    runner = importlib.import_module("s3prl.run_downstream")
    sys.argv = [runner.__file__, *arguments]
    runner.main()


def complete_arguments(arguments: Sequence[str]) -> list[str]:
    """Adds our defaults to the arguments."""
    given = _read(arguments)
    extra: list[str] = []
    config = CONF / f"{given.downstream}.yaml"
    if given.config is None and given.past_exp is None and config.is_file():
        extra += ["-c", str(config)]
    if given.device is None:
        import torch

        if not torch.cuda.is_available():
            extra += ["--device", "cpu"]
    return [*arguments, *extra]


def check_arguments(given: argparse.Namespace) -> None:
    """Refuses arguments for which s3prl would end in a traceback.

    Args:
        given: Options that ``get_parser`` read.

    Raises:
        OSError: If a configuration, an experiment or a model is not there.
        ValueError: If s3prl has no such task, an option is missing, or a file holds something else.
    """
    resumes = given.past_exp is not None
    if given.past_exp is not None:
        _check_experiment(Path(given.past_exp))
    elif given.auto_resume:
        directory = Path(given.expdir or f"result/downstream/{given.expname}")
        resumes = any(directory.glob("states-*.ckpt"))
    for option, value in (("-u", given.upstream), ("-d", given.downstream)):
        if value is None and not resumes:
            raise ValueError(f"{option} is missing; leave it out only with -e")
    tasks = downstream_tasks()
    if given.downstream is not None and given.downstream not in tasks:
        raise ValueError(
            f"-d {given.downstream}: s3prl has no such task; choose from {', '.join(tasks)}"
        )
    _check_configuration(given.config, given.override)
    if given.upstream in UPSTREAMS and given.upstream_ckpt is not None:
        from espnet_plugin.pretrained.storage import read_stored_config

        read_stored_config(given.upstream_ckpt)


def downstream_tasks() -> list[str]:
    """Names of s3prl's downstream tasks, without importing any of them.

    Raises:
        ImportError: If s3prl is not installed.
    """
    spec = importlib.util.find_spec("s3prl")
    if spec is None or spec.origin is None:
        raise ImportError("s3prl is not installed: pip install espnet-s3prl (extra: s3prl)")
    folder = Path(spec.origin).parent / "downstream"
    return sorted(path.parent.name for path in folder.glob("*/expert.py"))


def get_parser() -> argparse.ArgumentParser:
    """The parser of the options that matter here; s3prl's own takes these and all others."""
    parser = argparse.ArgumentParser(
        prog="python -m s3prl_upstream.run_downstream",
        description=__doc__.splitlines()[0],
        epilog="s3prl's run_downstream.py takes all other options unchanged; see s3prl's "
        "downstream/README.md.",
        allow_abbrev=False,
    )
    parser.add_argument("-m", "--mode", choices=MODES, required=True)
    parser.add_argument("-u", "--upstream", help="speechclip_plus, or any upstream of s3prl")
    parser.add_argument("-k", "--upstream_ckpt", help="the model: a directory or a name")
    parser.add_argument("-a", "--auto_resume", action="store_true", help="resume in -p")
    parser.add_argument("-f", "--upstream_trainable", action="store_true", help="fine-tune it")
    parser.add_argument("-d", "--downstream", help="the task, a folder of s3prl/downstream")
    parser.add_argument("-c", "--config", help="of the task (default: ours, if there is one)")
    parser.add_argument("-o", "--override", help="changes to it: config.a.b=c,,config.d=e")
    parser.add_argument("-p", "--expdir", help="folder of the experiment")
    parser.add_argument("-n", "--expname", help="or its name: result/downstream/NAME")
    parser.add_argument("-e", "--past_exp", help="an experiment or checkpoint to continue from")
    parser.add_argument("--device", help="cpu or cuda (default: cuda where there is a GPU)")
    return parser


def _read(arguments: Sequence[str]) -> argparse.Namespace:
    return get_parser().parse_known_args(arguments)[0]


def _check_configuration(config: str | None, override: str | None) -> None:
    if config is not None:
        if not isinstance(read_yaml(Path(config), name=f"-c {config}"), dict):
            raise ValueError(f"-c {config}: expected a mapping of options")
    for part in (override or "").split(",,"):
        if override and part.count("=") != 1:
            raise ValueError(f"-o {part}: write config.a.b=c,,config.d=e")


def _check_experiment(past: Path) -> None:
    if past.is_dir():
        if not any(past.glob("states-*.ckpt")):
            others = ", ".join(sorted(path.name for path in past.glob("*.ckpt")))
            raise FileNotFoundError(
                f"-e {past}: no checkpoint states-*.ckpt in it"
                + (f"; name one of these files: {others}" if others else "")
            )
        return
    with past.open("rb") as stream:
        begin = stream.read(1)
    if not zipfile.is_zipfile(past) and begin != _PICKLE:
        raise ValueError(f"-e {past}: not a checkpoint of s3prl, or damaged")


if __name__ == "__main__":
    main()
