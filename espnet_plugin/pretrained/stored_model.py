"""What is in a stored model, which is a directory.

- ``config.yaml``: what ``build_speechclip`` takes; relative paths start at the directory.
- ``model.safetensors``: the trained part, the loss's scale and, in an export, the embeddings of the
  keyword vocabulary. An experiment of ESPnet has checkpoints (``*.pth``) instead, as packed models
  had before.
- ``meta.yaml``: tells ESPnet's ``ModelDownloader`` which files ``SpeechCLIPInference`` takes.
- ``choices.json``: what was selected on a development set, if anything, see
  :mod:`espnet_plugin.pretrained.choices`.
- ``speech_encoder/``: the frozen encoder, as transformers' ``save_pretrained`` writes it (Whisper's
  without the decoder) or as the checkpoint of an s3prl upstream; missing if the configuration names
  a public encoder.
- ``clip/``: the frozen CLIP's configuration (JSON) and weights in open_clip's form, of whose token
  embeddings some rows may be left out; missing if the configuration names a public CLIP.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from espnet_plugin.pretrained.choices import Choices, take_choices, write_choices
from espnet_plugin.pretrained.old_names import keep_old_context, with_new_names
from espnet_plugin.teachers.hub import is_remote_name
from espnet_plugin.teachers.whisper_files import copy_encoder
from espnet_plugin.utils.constants import CHOICES_FILE
from espnet_plugin.utils.small_files import read_yaml

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
MAX_VALUES = 1_000_000  # of a configuration; CLIP's whole vocabulary is 49,408 numbers
CONFIG_FILE = "config.yaml"
TRAINED_FILE = "model.safetensors"
META_FILE = "meta.yaml"
SPEECH_ENCODER_DIRECTORY = "speech_encoder"
CLIP_DIRECTORY = "clip"
TOKEN_TABLE = "token_table"
LOG_SCALE = "loss.log_scale"
PREFIX = "speechclip."  # of the model inside ESPnet's
EXPECTED = (
    f"an exported model (a directory with {CONFIG_FILE} and {TRAINED_FILE}), an ESPnet experiment "
    f"(a directory with {CONFIG_FILE} and checkpoints *.pth, or one of these checkpoints), a "
    "repository owner/model on the hub, or a released model (docs/models.md)"
)
# Options that may name a local file or directory instead of something to download.
FILE_OPTIONS = (
    ("speech_encoder_conf", "model"),
    ("speech_encoder_conf", "checkpoint"),
    ("clip_conf", "model"),
    ("clip_conf", "pretrained"),
)
META = {
    "files": {"speechclip_model_file": TRAINED_FILE},
    "yaml_files": {"speechclip_train_config": CONFIG_FILE},
}
TEACHER_DIRECTORIES = {"speech_encoder_conf": SPEECH_ENCODER_DIRECTORY, "clip_conf": CLIP_DIRECTORY}


@dataclass(frozen=True)
class StoredModel:
    """The files of a model.

    Attributes:
        config: Configuration, whose local files are found from anywhere.
        weights_file: ``model.safetensors``, or a checkpoint of an experiment.
        choices: Options that were selected on a development set for it.
        root: Folder that holds all of the model. It is None for an experiment, which names files of
            the machine that it was trained on.
    """

    config: dict[str, Any]
    weights_file: Path
    choices: Choices
    root: Path | None = None

    @property
    def spoken_languages(self) -> tuple[str, ...]:
        """Languages of its training's speech, as the corpus names them; empty if unknown.

        Raises:
            ValueError: If the configuration has something else in their place.
        """
        names = self.config.get("spoken_languages") or []
        # terminals act on what cannot be printed
        if not isinstance(names, list) or not all(str(name).isprintable() for name in names):
            raise ValueError(
                f"{CONFIG_FILE}: spoken_languages is {str(names)[:60]!r}; expected a list of names"
            )
        return tuple(map(str, names))

    def read_weights(self) -> dict[str, Tensor]:
        """Weights under the model's names, and the other tensors in the file."""
        from espnet_plugin.teachers.weights import read_pickle, read_safetensors  # with PyTorch

        if self.weights_file.name == TRAINED_FILE:
            return with_new_names(read_safetensors(self.weights_file))
        content = read_pickle(self.weights_file)
        return with_new_names(_of_checkpoint(content, self.weights_file))


def read_stored(path: Path, config: str | Path | None = None) -> StoredModel:
    """Finds the parts of a model.

    Args:
        path: A directory that holds a model, or a checkpoint.
        config: Configuration of the checkpoint, by default the one beside it.

    Raises:
        FileNotFoundError: If the configuration is missing.
        ValueError: If its configuration or choices are damaged.
    """
    root = path if path.is_dir() else None
    if root is not None:
        found = resolve_paths(read_config(path / CONFIG_FILE), path)
        path = path / TRAINED_FILE
    else:
        config_file = config_of_checkpoint(path) if config is None else Path(config)
        if not config_file.is_file():
            raise FileNotFoundError(
                f"{path}: its experiment's {config_file.name} is not beside it ({config_file})"
            )
        found = resolve_paths(read_config(config_file), *experiment_directories(config_file))
        if (config_file.parent / META_FILE).is_file():  # an older packed model
            root = config_file.parent
    choices = take_choices(found, path.with_name(CHOICES_FILE))
    return StoredModel(found, path, choices, root)


def write_config(directory: Path, config: Mapping[str, Any]) -> None:
    """Writes ``config.yaml`` with the format's version."""
    content = {"format_version": FORMAT_VERSION, **config}
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=120)
    (directory / CONFIG_FILE).write_text(text, encoding="utf-8")


def read_config(path: Path) -> dict[str, Any]:
    """Reads ``config.yaml`` of a model or an ESPnet experiment: plain values, no other objects.

    Raises:
        ValueError: If it is not a mapping, of another format, or larger than any configuration.
    """
    config = read_yaml(path)
    # nested references multiply when anything walks through them
    waiting, counted = [config], 0
    while waiting:
        value = waiting.pop()
        children = value.values() if isinstance(value, dict) else value
        if isinstance(value, (dict, list)):
            counted += len(value)
            waiting.extend(children)
        if counted > MAX_VALUES:
            raise ValueError(f"{path}: more than {MAX_VALUES} values, too many for a configuration")
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
    keep_old_context(config)
    return config


def write_weights(directory: Path, weights: Mapping[str, Tensor]) -> None:
    """Writes ``model.safetensors``."""
    from safetensors.torch import save_file

    content = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
    for key in content.keys() & {TOKEN_TABLE, LOG_SCALE}:
        content[key] = content[key].float()
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


def is_whisper_folder(config: Mapping[str, Any], section: str, value: str | Path) -> bool:
    """Whether an option of ``FILE_OPTIONS`` names a Whisper; only its encoder counts."""
    encoder = section == "speech_encoder_conf" and config.get("speech_encoder") == "whisper"
    return encoder and Path(value).is_dir()


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


def _of_checkpoint(state: Any, checkpoint: Path) -> dict[str, Tensor]:
    if isinstance(state, Mapping) and isinstance(state.get("model"), Mapping):
        state = state["model"]  # checkpoint.pth, with the optimiser's state
    weights = {
        key.removeprefix(PREFIX): value
        for key, value in (state.items() if isinstance(state, Mapping) else ())
        if isinstance(key, str) and key.startswith((PREFIX, LOG_SCALE))
    }
    if not weights.keys() - {LOG_SCALE}:
        raise ValueError(
            f"{checkpoint}: not a SpeechCLIP checkpoint: no weight begins with {PREFIX!r}"
        )
    return weights


def write_stored(
    directory: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    choices: Choices,
) -> None:
    """Writes a model that loads by itself, with the local files of its frozen models.

    Args:
        directory: Directory to write into, which exists and is empty.
        config: Configuration, whose local files are found; names on a hub stay names.
        weights: Weights that :meth:`StoredModel.read_weights` read.
        choices: Options that were selected on a development set.

    Raises:
        FileNotFoundError: If the configuration names a file that is not here.
        ValueError: If the weights of a Whisper cannot be read.
    """
    placed = copy.deepcopy(dict(config))
    for section, option in FILE_OPTIONS:
        conf = placed.get(section) or {}
        conf.pop("cache_dir", None)  # this machine's
        value = str(conf.get(option) or "")
        files = teacher_files(section, value)
        if not value or (not files and is_remote_name(value)):
            continue
        if not files:
            raise FileNotFoundError(
                f"{section}.{option}: there is no {value} here; start from the recipe's folder, or "
                "write an absolute path into the configuration"
            )
        source, folder = Path(value), TEACHER_DIRECTORIES[section]
        conf[option] = folder if source.is_dir() else f"{folder}/{source.name}"
        (directory / folder).mkdir(exist_ok=True)
        if is_whisper_folder(placed, section, source):
            copy_encoder(source, directory / folder)
            continue
        for path in files:
            shutil.copyfile(path, directory / folder / path.name)
    for tower in ("image_tower", "text_tower"):
        (placed.get("clip_conf") or {}).pop(tower, None)
    write_config(directory, placed)
    write_weights(directory, weights)
    write_choices(directory, choices)
    (directory / META_FILE).write_text(yaml.safe_dump(META), encoding="utf-8")
