"""The directory in which a model is exported.

- ``config.yaml``: what ``build_speechclip`` takes; relative paths start at the directory.
- ``model.safetensors``: the trained part, the embeddings of the keyword vocabulary, the loss's
  scale.
- ``speech_encoder/``: the frozen encoder, as transformers' ``save_pretrained`` leaves it or as the
  checkpoint of an s3prl upstream; not there if the configuration names a public one.
- ``clip/``: the frozen CLIP's configuration (JSON) and weights in open_clip's form; not there if
  the configuration names a public one.
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from espnet_plugin.utils.scratch import scratch_folder

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
MAX_VALUES = 1_000_000  # of a configuration; CLIP's whole vocabulary is 49,408 numbers
CONFIG_FILE = "config.yaml"
TRAINED_FILE = "model.safetensors"
SPEECH_ENCODER_DIRECTORY = "speech_encoder"
CLIP_DIRECTORY = "clip"
TOKEN_TABLE = "token_table"
LOG_SCALE = "loss.log_scale"
# Options that may name a local file or directory instead of something to download.
FILE_OPTIONS = (
    ("speech_encoder_conf", "model"),
    ("speech_encoder_conf", "checkpoint"),
    ("clip_conf", "model"),
    ("clip_conf", "pretrained"),
)
TEACHER_DIRECTORIES = {
    "speech_encoder_conf": SPEECH_ENCODER_DIRECTORY,
    "clip_conf": CLIP_DIRECTORY,
}


@contextlib.contextmanager
def new_directory(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Yields a temporary directory beside ``path``, which takes its place when the block succeeds.

    Args:
        path: Final name.
        force: Replace what is there.

    Raises:
        FileExistsError: If something is there and ``force`` is off.
    """
    path = Path(path)
    if not force and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(
            f"{path} exists and is not empty; give another directory, or replace it with "
            "force=True (--force)"
        )
    path = path.absolute()
    made = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with scratch_folder(path.parent, name=path.name) as scratch:
            temporary = scratch / "new"
            temporary.mkdir()
            yield temporary
            if path.exists():
                os.replace(path, scratch / "old")
            os.replace(temporary, path)
    finally:
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()  # only where nothing is in it


def write_config(directory: Path, config: Mapping[str, Any]) -> None:
    """Writes ``config.yaml`` with the format's version."""
    content = {"format_version": FORMAT_VERSION, **config}
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=120)
    (directory / CONFIG_FILE).write_text(text, encoding="utf-8")


def read_yaml(path: Path) -> Any:
    """Plain values of a YAML file; no tag makes anything else of them.

    Raises:
        ValueError: If it is no YAML, or larger than any configuration.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (AttributeError, RecursionError, ValueError, yaml.YAMLError) as error:  # PyYAML's, too
        raise ValueError(f"{path}: no YAML file: {error}") from error
    # references to references to ... multiply once anything walks through them
    waiting, counted = [content], 0
    while waiting:
        value = waiting.pop()
        children = value.values() if isinstance(value, dict) else value
        if isinstance(value, (dict, list)):
            counted += len(value)
            waiting.extend(children)
        if counted > MAX_VALUES:
            raise ValueError(f"{path}: more than {MAX_VALUES} values, no configuration of ours")
    return content


def read_config(path: Path) -> dict[str, Any]:
    """Reads ``config.yaml`` of an export or an ESPnet experiment.

    Raises:
        ValueError: If it is no mapping, of a newer format, or larger than any configuration.
    """
    config = read_yaml(path)
    if not isinstance(config, dict):
        raise ValueError(f"{path}: expected a mapping of options, got {type(config).__name__}")
    for key, value in config.items():
        if str(key).endswith("_conf") and not isinstance(value, (dict, type(None))):
            raise ValueError(f"{path}: {key}: expected a mapping, got {type(value).__name__}")
    version = config.pop("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path}: format_version {version}; this version of the package reads {FORMAT_VERSION}"
        )
    return config


def write_trained(
    directory: Path,
    weights: Mapping[str, Tensor],
    *,
    token_table: Tensor | None = None,
    log_scale: Tensor | None = None,
) -> None:
    """Writes ``model.safetensors``."""
    from safetensors.torch import save_file

    content = dict(weights)
    if token_table is not None:
        content[TOKEN_TABLE] = token_table.float()
    if log_scale is not None:
        content[LOG_SCALE] = log_scale.float()
    content = {key: value.detach().cpu().contiguous() for key, value in content.items()}
    save_file(content, directory / TRAINED_FILE, metadata={"format": "pt"})


def experiment_directories(config_file: Path) -> tuple[Path, ...]:
    """Where the paths of an experiment's configuration may start: its own folder, or that of the
    recipe, two above (``exp/<tag>/config.yaml``); both also where links lead to."""
    folders = (config_file.absolute().parent, config_file.resolve().parent)
    return tuple(
        dict.fromkeys(path for folder in folders for path in (folder, *folder.parents[:2]))
    )


def config_of_checkpoint(checkpoint: Path) -> Path:
    """The configuration of an experiment's checkpoint: beside it, or beside what it links to."""
    beside = checkpoint.parent / CONFIG_FILE
    return beside if beside.is_file() else checkpoint.resolve().parent / CONFIG_FILE


def resolve_paths(config: dict[str, Any], *directories: Path) -> dict[str, Any]:
    """A configuration whose local files are found from anywhere.

    A relative path is taken from the first of the directories in which there is such a file;
    otherwise it stays as it is, relative to the working directory, or the name of something to
    download.
    """
    config = copy.deepcopy(config)
    clip = config.get("clip_conf")
    holders = [(config.get(section) or {}, option) for section, option in FILE_OPTIONS]
    for holder, option in (*holders, (config, "keyword_vocabulary")):
        value = holder.get(option)
        if not isinstance(value, str) or not value:
            continue
        if not (Path(value).is_absolute() and Path(value).exists()):
            candidates = [directory / value.lstrip("/") for directory in directories]
            # of CLIP a file: a folder only happens to be called like a tag of open_clip
            there = Path.is_file if holder is clip else Path.exists
            holder[option] = next((str(path) for path in candidates if there(path)), value)
    return config
