"""What is wrong with the arguments of s3prl's runner, before anything slow is imported.

s3prl itself would say it with a traceback, after half a minute of imports.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.util
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from s3prl_upstream import speechclip_plus
from s3prl_upstream.superb.conf import CONF, missing_paths

MODES = ("train", "evaluate", "inference")
_PICKLE = b"\x80"  # first byte of what torch.save wrote before its zip format


def check_arguments(given: argparse.Namespace) -> None:
    """Refuses what the runner would stumble over.

    Args:
        given: What ``run_downstream.get_parser`` reads.

    Raises:
        FileNotFoundError: If a configuration, an experiment, a model or data are not there.
        ValueError: If s3prl has no such task or upstream, or a file holds something else.
    """
    if given.mode not in MODES:
        raise ValueError(f"-m {given.mode or 'is missing'}: it is {', '.join(MODES)}")
    if given.past_exp is not None:
        _check_experiment(Path(given.past_exp))
    directory = Path(given.expdir or f"result/downstream/{given.expname}")
    resumes = given.past_exp is not None or bool(given.auto_resume and _states(directory))
    for option, value in (("-u", given.upstream), ("-d", given.downstream)):
        if value is None and not resumes:
            raise ValueError(f"{option} is missing; only an experiment to go on with (-e) knows it")
    _check_name("-d", given.downstream, downstream_tasks(), "task")
    if given.hub != "huggingface":  # there -u is owner/model
        _check_name("-u", given.upstream, upstream_names(), "upstream")
    if given.config is not None:
        _check_file("-c", Path(given.config))
    if not resumes:  # the configuration of one that goes on is in its checkpoint
        config = read_config(given)
        if config is not None:
            check_data(given.downstream, config)
    if given.upstream == speechclip_plus.__name__ and given.upstream_ckpt is not None:
        from espnet_plugin.pretrained.stored_model import read_stored_config

        read_stored_config(given.upstream_ckpt)


def read_config(given: argparse.Namespace) -> dict[str, Any] | None:
    """The configuration as the runner will have it; None: s3prl's own of the task.

    Raises:
        ValueError: If it is no YAML file, or ``-o`` is not as s3prl wants it.
    """
    path = Path(given.config) if given.config is not None else CONF / f"{given.downstream}.yaml"
    if not path.is_file():
        return None
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"-c {path}: no YAML file ({error})") from error
    if not isinstance(config, dict):
        raise ValueError(f"-c {path}: expected a mapping of options")
    for key, value in _overrides(given.override):
        _put(config, key, value)
    return config


def check_data(downstream: str | None, config: Mapping[str, Any]) -> None:
    """Refuses a configuration whose data are not named, or are not there.

    Args:
        downstream: The task. Which options name data is read from our configurations of it.
        config: Of the experiment.

    Raises:
        FileNotFoundError: If what an option names does not exist.
        ValueError: If an option is still ``???``.
    """
    unknown = list(missing_paths(config))
    if unknown:
        options = ",,".join(f"{key}=..." for key in unknown)
        raise ValueError(f'say where the data are: -o "{options}"')
    for key in _data_options(downstream):
        found = _get(config, key)
        for path in found if isinstance(found, list) else [found]:
            if isinstance(path, str) and not Path(path).exists():
                raise FileNotFoundError(
                    f"{key}: there is no file or folder {path}; say where the data are: "
                    f'-o "{key}=..."'
                )


def downstream_tasks() -> list[str]:
    """Names of s3prl's downstream tasks, without importing any of them."""
    return sorted(path.parent.name for path in _files_of_s3prl("downstream/*/expert.py"))


def upstream_names() -> list[str]:
    """Names of s3prl's upstreams and of ours, without importing any; empty where s3prl is not."""
    names: set[str] = set()
    for path in _files_of_s3prl("*/*/hubconf.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.ImportFrom):  # one upstream's under another name
                names.update(alias.asname for alias in node.names if alias.asname)
    public = {name for name in names if not name.startswith("_")}
    return sorted({*public, speechclip_plus.__name__}) if public else []


def _files_of_s3prl(pattern: str) -> list[Path]:
    spec = importlib.util.find_spec("s3prl")
    roots = spec.submodule_search_locations if spec else None
    return [path for root in roots or () for path in Path(root).glob(pattern)]


def _check_name(option: str, name: str | None, known: list[str], what: str) -> None:
    if name is None or not known or name in known:
        return
    near = difflib.get_close_matches(name, known, n=3)
    listed = ", ".join(near or known)
    raise ValueError(
        f"{option} {name}: s3prl has no such {what}; {'do you mean' if near else 'it has'} {listed}"
    )


def _check_file(option: str, path: Path) -> None:
    if path.is_dir():
        raise ValueError(f"{option} {path}: a folder, not a file")
    if not path.is_file():
        raise FileNotFoundError(f"{option} {path}: no such file")


def _check_experiment(past: Path) -> None:
    if past.is_dir():
        if not _states(past):
            others = ", ".join(sorted(path.name for path in past.glob("*.ckpt")))
            raise FileNotFoundError(
                f"-e {past}: no checkpoint states-*.ckpt in it"
                + (f"; name one of these files: {others}" if others else "")
            )
        return
    _check_file("-e", past)
    with open(past, "rb") as stream:
        begin = stream.read(1)
    if not zipfile.is_zipfile(past) and begin != _PICKLE:
        raise ValueError(f"-e {past}: no checkpoint of s3prl's, or not all of one")


def _states(directory: Path) -> list[Path]:
    return list(directory.glob("states-*.ckpt"))


def _data_options(downstream: str | None) -> list[str]:
    """Options that name data, of all our configurations of a task."""
    options: list[str] = []
    for path in sorted(CONF.glob(f"{downstream}*.yaml")):
        options += missing_paths(yaml.safe_load(path.read_text(encoding="utf-8")))
    return list(dict.fromkeys(options))


def _overrides(text: str | None) -> Iterable[tuple[str, object]]:
    if text is None or text.lower() == "none":
        return
    for part in text.split(",,"):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or "=" in value:
            raise ValueError(f"-o {part}: it is config.a.b=c,,config.d=e")
        try:
            yield key, ast.literal_eval(value)
        except (SyntaxError, ValueError):
            yield key, value


def _put(config: dict[str, Any], key: str, value: object) -> None:
    first, *fields = key.split(".")
    if first != "config" or not fields:
        return  # args.…, which name no data
    for field in fields[:-1]:
        config = config.setdefault(field, {})
        if not isinstance(config, dict):
            raise ValueError(f"-o {key}: {field} holds no further options")
    config[fields[-1]] = value


def _get(config: Any, key: str) -> Any:
    for field in key.split(".")[1:]:
        config = config.get(field) if isinstance(config, Mapping) else None
    return config
