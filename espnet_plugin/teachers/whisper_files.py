"""The encoder in a folder with a Whisper, whose decoder has more than half of the weights."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_plugin.teachers.hub import CONFIG_JSON
from espnet_plugin.utils.small_files import read_json

if TYPE_CHECKING:
    from torch import Tensor

ENCODER_NAMES = r"^(model\.)?encoder\."  # of weights, in files of transformers' classes
WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")  # as transformers looks for them
# what the encoder's users read beside its weights, and what binds them
KEPT_FILES = (CONFIG_JSON, "preprocessor_config.json", "LICENSE")


def encoder_weights(folder: Path) -> dict[str, Tensor]:
    """Weights of the encoder in a folder that ``save_pretrained`` wrote, whole or in shards.

    Returns:
        Weights under the names and in the precision in which they are stored; none if the folder
        has only a configuration.

    Raises:
        FileNotFoundError: If a shard is missing.
        ValueError: If a file is damaged, or holds more than tensors.
    """
    from espnet_plugin.teachers.weights import read_pickle, read_safetensors

    weights: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        content = (read_safetensors if path.suffix == ".safetensors" else read_pickle)(path)
        if not isinstance(content, Mapping):
            raise ValueError(f"{path}: holds no weights by name, but a {type(content).__name__}")
        weights.update(content)
    of_encoder = [name for name in weights if re.match(ENCODER_NAMES, name)]
    return {name: weights[name] for name in of_encoder or weights}  # one without a decoder: all


def _weight_files(folder: Path) -> list[Path]:
    for name in WEIGHTS_FILES:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return [folder / name]
        if index.is_file():
            try:
                shards = set(map(str, read_json(index)["weight_map"].values()))
            except (AttributeError, KeyError, TypeError) as error:
                raise ValueError(f"{index}: holds no weight_map of names and files") from error
            return [folder / Path(shard).name for shard in shards]
    return []


def copy_encoder(source: Path, target: Path) -> None:
    """Writes the encoder's part of a Whisper, in the precision in which it is stored.

    Args:
        source: Folder of the model; :func:`encoder_weights` lists the errors.
        target: Folder to write into, which exists and is empty.
    """
    from safetensors.torch import save_file

    for path in (source / name for name in KEPT_FILES):
        if path.is_file():
            shutil.copyfile(path, target / path.name)
    weights = {name: weight.contiguous() for name, weight in encoder_weights(source).items()}
    if weights:
        save_file(weights, target / WEIGHTS_FILES[0], metadata={"format": "pt"})
