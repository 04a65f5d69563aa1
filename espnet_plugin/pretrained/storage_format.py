"""The directory of an exported model.

- ``config.yaml``: what ``build_speechclip`` takes; relative paths start at the directory.
- ``model.safetensors``: the trained part, the embeddings of the keyword vocabulary, the loss's
  scale.
- ``choices.json``: what a development set chose, if it did, see
  :mod:`espnet_plugin.pretrained.choices`.
- ``speech_encoder/``: the frozen encoder, as transformers' ``save_pretrained`` writes it or as the
  checkpoint of an s3prl upstream; missing if the configuration names a public encoder.
- ``clip/``: the frozen CLIP's configuration (JSON) and weights in open_clip's form; missing if the
  configuration names a public CLIP.
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
TEACHER_DIRECTORIES = {"speech_encoder_conf": SPEECH_ENCODER_DIRECTORY, "clip_conf": CLIP_DIRECTORY}


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
            for file in temporary.rglob("*.safetensors"):  # 0.8 lets only their owner read them
                file.chmod(temporary.stat().st_mode & 0o666)
            if path.exists():
                os.replace(path, scratch / "old")
            os.replace(temporary, path)
    finally:
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()  # only if it is empty


def write_config(directory: Path, config: Mapping[str, Any]) -> None:
    """Writes ``config.yaml`` with the format's version."""
    content = {"format_version": FORMAT_VERSION, **config}
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=120)
    (directory / CONFIG_FILE).write_text(text, encoding="utf-8")


def read_yaml(path: Path) -> Any:
    """Plain values of a YAML file; tags of other objects are refused.

    Raises:
        ValueError: If it is not YAML, or larger than any configuration.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (AttributeError, RecursionError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: not a YAML file: {error}") from error
    # nested references multiply when anything walks through them
    waiting, counted = [content], 0
    while waiting:
        value = waiting.pop()
        children = value.values() if isinstance(value, dict) else value
        if isinstance(value, (dict, list)):
            counted += len(value)
            waiting.extend(children)
        if counted > MAX_VALUES:
            raise ValueError(f"{path}: more than {MAX_VALUES} values, too many for a configuration")
    return content


def read_config(path: Path) -> dict[str, Any]:
    """Reads ``config.yaml`` of an export or an ESPnet experiment.

    Raises:
        ValueError: If it is not a mapping, of another format, or larger than any configuration.
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

    others = {TOKEN_TABLE: token_table, LOG_SCALE: log_scale}
    content = {**weights, **{key: x.float() for key, x in others.items() if x is not None}}
    content = {key: value.detach().cpu().contiguous() for key, value in content.items()}
    save_file(content, directory / TRAINED_FILE, metadata={"format": "pt"})


def experiment_directories(config_file: Path) -> tuple[Path, ...]:
    """Where the paths of an experiment's configuration may start.

    That is its own folder, or the recipe's, two above (``exp/<tag>/config.yaml``). Targets of links
    count too.
    """
    folders = (config_file.absolute().parent, config_file.resolve().parent)
    return tuple(
        dict.fromkeys(path for folder in folders for path in (folder, *folder.parents[:2]))
    )


def config_of_checkpoint(checkpoint: Path) -> Path:
    """The configuration of an experiment's checkpoint: beside it, or beside its link's target."""
    beside = checkpoint.parent / CONFIG_FILE
    return beside if beside.is_file() else checkpoint.resolve().parent / CONFIG_FILE


def file_options(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Section, name and value of each option that may name a file; of keyword_vocabulary without a
    section."""
    for section, name in (*FILE_OPTIONS, ("", "keyword_vocabulary")):
        value = ((config.get(section) or {}) if section else config).get(name)
        if isinstance(value, str) and value:
            yield section, name, value


def teacher_files(section: str, value: str | Path | None) -> list[Path]:
    """The files that an option of ``FILE_OPTIONS`` names, in a fixed order; none of a download."""
    if not value:
        return []
    path = Path(value)
    if path.is_file():
        return [path]
    # CLIP's are files: a folder may only have the name of an open_clip tag
    if section == "clip_conf" or not path.is_dir():
        return []
    return sorted(file for file in path.iterdir() if file.is_file())


def resolve_paths(config: dict[str, Any], *directories: Path) -> dict[str, Any]:
    """A configuration whose local files are found from anywhere.

    A relative path starts at the first directory that has such a file. Other values stay as they
    are: relative to the working directory, or names of downloads.
    """
    config = copy.deepcopy(config)
    for section, name, value in list(file_options(config)):
        if not (Path(value).is_absolute() and Path(value).exists()):
            candidates = [directory / value.lstrip("/") for directory in directories]
            # CLIP's are files: a folder may only have the name of an open_clip tag
            there = Path.is_file if section == "clip_conf" else Path.exists
            found = next((str(path) for path in candidates if there(path)), value)
            (config[section] if section else config)[name] = found
    return config
