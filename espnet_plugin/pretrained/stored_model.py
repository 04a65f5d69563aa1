"""Open anything that holds a trained model: its configuration and its weights."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from espnet_plugin.model.old_names import with_new_names
from espnet_plugin.patches import weights_only_loading
from espnet_plugin.pretrained.archive import unpack_model
from espnet_plugin.pretrained.choices import CHOICES_FILE, Choices, take_choices
from espnet_plugin.pretrained.names import EXPECTED, resolve_model
from espnet_plugin.pretrained.storage_format import (
    CONFIG_FILE,
    TRAINED_FILE,
    config_of_checkpoint,
    experiment_directories,
    read_config,
    read_yaml,
    resolve_paths,
)
from espnet_plugin.pretrained.trust import check_trusted, lies_within
from espnet_plugin.teachers.weights import read_pickle, read_safetensors
from espnet_plugin.utils.scratch import scratch_folder

META_FILE = "meta.yaml"
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
    source = resolve_model(source)
    with contextlib.ExitStack() as stack:
        if source.is_dir():
            stored = _exported(source)
        elif zipfile.is_zipfile(source) and source.suffix not in (".pth", ".ckpt", ".pt"):
            stored = _unpacked(source, stack.enter_context(scratch_folder()))
        elif source.suffix == ".pth":
            config_file = config_of_checkpoint(source) if config is None else Path(config)
            stored = _experiment(config_file, source)
        elif source.suffix == ".ckpt":
            raise ValueError(
                f"{source}: a checkpoint of the original implementation is converted first: "
                f"speechclip convert {source} OUT_DIR"
            )
        elif _begins_as_zip(source) and not zipfile.is_zipfile(source):
            raise ValueError(
                f"{source}: incomplete, the end of the zip file is missing; copy or "
                "download it again"
            )
        else:
            raise ValueError(f"{source}: holds no model; expected {EXPECTED}")
        if not trusted:
            check_trusted(stored.config, source, root=stored.root)
            stack.enter_context(weights_only_loading())
        yield stored


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


def _exported(directory: Path) -> StoredModel:
    config = resolve_paths(read_config(directory / CONFIG_FILE), directory)
    return _stored(config, directory / TRAINED_FILE, root=directory)


def _experiment(config_file: Path, checkpoint: Path, *roots: Path) -> StoredModel:
    if not config_file.is_file():
        raise FileNotFoundError(
            f"{checkpoint}: its experiment's {config_file.name} is not beside it ({config_file})"
        )
    config = resolve_paths(read_config(config_file), *experiment_directories(config_file), *roots)
    return _stored(config, checkpoint)


def _stored(config: dict[str, Any], weights_file: Path, *, root: Path | None = None) -> StoredModel:
    choices = take_choices(config, weights_file.with_name(CHOICES_FILE))
    return StoredModel(config, weights_file, choices, root)


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


def _unpacked(path: Path, root: Path) -> StoredModel:
    unpack_model(path, root)
    if (root / META_FILE).is_file():
        config_file, checkpoint = _packed_files(read_yaml(root / META_FILE), root, path)
        return replace(_experiment(root / config_file, root / checkpoint, root), root=root)
    exported = [
        trained.parent
        for trained in root.rglob(TRAINED_FILE)
        if (trained.parent / CONFIG_FILE).is_file()
    ]
    if len(exported) == 1:
        return _exported(exported[0])
    raise ValueError(
        f"{path}: holds no model; expected {EXPECTED}; the zip file has neither {META_FILE} nor an "
        "exported model"
    )


def _packed_files(meta: Any, root: Path, path: Path) -> tuple[str, str]:
    """Names of configuration and checkpoint in a packed model's ``meta.yaml``."""
    meta = meta if isinstance(meta, Mapping) else {}
    configs, files = (
        [str(name).lstrip("/") for name in section.values()] if isinstance(section, Mapping) else []
        for section in (meta.get("yaml_files"), meta.get("files"))
    )
    checkpoints = [name for name in files if name.endswith(".pth")]
    if len(configs) != 1 or len(checkpoints) != 1:
        raise ValueError(
            f"{path}: its {META_FILE} names {len(configs)} configurations and {len(checkpoints)} "
            "checkpoints, expected one each"
        )
    for name in (*configs, *checkpoints):
        if not lies_within(root / name, root) or not (root / name).is_file():
            raise ValueError(f"{path}: its {META_FILE} names {name!r}, which it does not hold")
    return configs[0], checkpoints[0]
