"""Open anything that holds a trained model: its configuration and its weights."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from espnet_plugin.model.old_names import with_new_names
from espnet_plugin.patches import weights_only_loading
from espnet_plugin.pretrained.choices import CHOICES_FILE, Choices, take_choices
from espnet_plugin.pretrained.names import EXPECTED, resolve_model
from espnet_plugin.pretrained.storage_format import (
    CONFIG_FILE,
    TRAINED_FILE,
    config_of_checkpoint,
    experiment_directories,
    read_config,
    resolve_paths,
)
from espnet_plugin.pretrained.trust import check_trusted, unpack_model
from espnet_plugin.teachers.weights import read_pickle, read_safetensors
from espnet_plugin.utils.scratch import scratch_folder

PREFIX = "speechclip."  # of the model inside ESPnet's


@dataclass(frozen=True)
class StoredModel:
    """The files of a model.

    Attributes:
        config: Configuration, whose local files are found from anywhere.
        weights_file: ``model.safetensors`` of an export, or a checkpoint of an experiment.
        choices: What a development set chose for it.
        root: Folder that holds all of the model; None: an experiment, which names files of the
            machine that it was trained on.
    """

    config: dict[str, Any]
    weights_file: Path
    choices: Choices
    root: Path | None = None

    def read_weights(self) -> dict[str, Tensor]:
        """Weights under the model's names, and the other tensors in the file."""
        if self.weights_file.name == TRAINED_FILE:
            return with_new_names(read_safetensors(self.weights_file))
        return with_new_names(_checkpoint_weights(self.weights_file))


@contextlib.contextmanager
def opened(
    source: str | Path, config: str | Path | None = None, *, trusted: bool = False
) -> Iterator[StoredModel]:
    """Finds a model; a zip file is unpacked into a temporary directory while the block runs.

    If the model is not trusted, its configuration is checked, and libraries read weights only.
    """
    path = resolve_model(source)
    with contextlib.ExitStack() as stack:
        if zipfile.is_zipfile(path) and path.suffix not in (".pth", ".ckpt", ".pt"):
            root = stack.enter_context(scratch_folder())
            unpack_model(path, root)
            stored = _read(_model_below(root, path), None, root)
        else:
            stored = _read(path, config)
        if not trusted:
            check_trusted(stored.config, path, root=stored.root)
            stack.enter_context(weights_only_loading())
        yield stored


def _read(path: Path, config: str | Path | None, root: Path | None = None) -> StoredModel:
    """Reads a directory that holds a model, or a checkpoint and the configuration beside it."""
    if path.is_dir():
        found = resolve_paths(read_config(path / CONFIG_FILE), path)
        path, root = path / TRAINED_FILE, path
    elif path.suffix == ".pth":
        config_file = config_of_checkpoint(path) if config is None else Path(config)
        if not config_file.is_file():
            raise FileNotFoundError(
                f"{path}: its experiment's {config_file.name} is not beside it ({config_file})"
            )
        roots = [*experiment_directories(config_file), *([root] if root else [])]
        found = resolve_paths(read_config(config_file), *roots)
    else:
        raise ValueError(_no_model(path))
    choices = take_choices(found, path.with_name(CHOICES_FILE))
    return StoredModel(found, path, choices, root)


def _no_model(path: Path) -> str:
    if path.suffix == ".ckpt":
        return (
            f"{path}: a checkpoint of the original implementation is converted first: "
            f"speechclip convert {path} OUT_DIR"
        )
    if _begins_as_zip(path) and not zipfile.is_zipfile(path):
        return f"{path}: incomplete, the end of the zip file is missing; copy or download it again"
    return f"{path}: holds no model; expected {EXPECTED}"


def _model_below(root: Path, path: Path) -> Path:
    """The directory or checkpoint of the one model in an unpacked zip file."""
    found: list[Path] = []
    for folder in (file.parent for file in root.rglob(CONFIG_FILE)):
        found += [folder] if (folder / TRAINED_FILE).is_file() else folder.glob("*.pth")
    if len(found) != 1:
        held = f"{len(found)} models" if found else "no model"
        raise ValueError(f"{path}: holds {held}; expected {EXPECTED}")
    return found[0]


def _begins_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def read_stored_config(source: str | Path) -> dict[str, Any]:
    """Configuration of a trained model; nothing is built.

    Local files that it names are found from anywhere, except those of a zip file.

    Args:
        source: As for :func:`load_speechclip`, which also says what is raised.
    """
    with opened(source, trusted=True) as stored:  # nothing that it names is read
        return stored.config


def _checkpoint_weights(checkpoint: Path) -> dict[str, Tensor]:
    state = read_pickle(checkpoint)
    if isinstance(state, Mapping) and isinstance(state.get("model"), Mapping):
        state = state["model"]  # checkpoint.pth, with the optimiser's state
    weights = {
        key.removeprefix(PREFIX): value
        for key, value in (state.items() if isinstance(state, Mapping) else ())
        if isinstance(key, str) and key.startswith(PREFIX)
    }
    if not weights:
        raise ValueError(
            f"{checkpoint}: not a SpeechCLIP checkpoint: no weight begins with {PREFIX!r}"
        )
    return weights
