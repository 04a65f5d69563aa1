"""Read a released checkpoint: weights, configuration, progress of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from espnet_plugin.pretrained.convert.unpickle import read_pickled_checkpoint
from espnet_plugin.utils.small_files import look_up

# Required entries of the configuration.
NEEDED_OPTIONS = ("model_settings", "audio_encoder.name", "clip.name", "cl_loss.type")
NEEDED_WEIGHTS = ("audio_encoder.weightedsum_layer.weights", "clip.model.token_embedding.weight")


@dataclass(frozen=True)
class ReleasedCheckpoint:
    """A Lightning checkpoint of SpeechCLIP or SpeechCLIP+.

    Attributes:
        weights: State dict under the original's names, mapped from the file.
        config: The configuration it was trained with, as nested mappings.
        progress: Numbers ``epoch`` and ``global_step``, where the file names them.
        stubs: Classes whose objects were not read.
        ignored: Other entries of the file, which are not part of the model.
    """

    weights: dict[str, Tensor]
    config: dict[str, Any]
    progress: dict[str, int]
    stubs: tuple[str, ...]
    ignored: tuple[str, ...]


def read_released_checkpoint(path: str | Path) -> ReleasedCheckpoint:
    """Reads a checkpoint; executes nothing in it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, refused, or of another model; the message names what is
            missing.
    """
    content, stubs = read_pickled_checkpoint(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: not a Lightning checkpoint, it holds a {type(content).__name__}")
    missing = [
        key
        for key in ("state_dict", "hyper_parameters")
        if not isinstance(content.get(key), Mapping)
    ]
    if missing:
        found = ", ".join(sorted(str(key) for key in content)[:6]) or "nothing"
        raise ValueError(
            f"{path}: not a Lightning checkpoint of SpeechCLIP: it lacks {' and '.join(missing)} "
            f"(it has {found})"
        )
    return ReleasedCheckpoint(
        weights=_weights(content["state_dict"], path),
        config=_config(content["hyper_parameters"], path),
        progress={
            key: int(content[key])
            for key in ("epoch", "global_step")
            if isinstance(content.get(key), int)
        },
        stubs=tuple(stubs),
        ignored=tuple(
            sorted(
                {str(key) for key in content}
                - {"state_dict", "hyper_parameters", "epoch", "global_step"}
            )
        ),
    )


def _weights(state_dict: Mapping[Any, Any], path: str | Path) -> dict[str, Tensor]:
    wrong = [str(key) for key, value in state_dict.items() if not isinstance(value, Tensor)]
    if wrong:
        raise ValueError(
            f"{path}: state_dict has entries that are not tensors: {', '.join(wrong[:3])}"
        )
    missing = [key for key in NEEDED_WEIGHTS if key not in state_dict]
    if missing:
        first = ", ".join(list(state_dict)[:3]) or "none"
        raise ValueError(
            f"{path}: not a checkpoint of SpeechCLIP: its weights ({first} ...) "
            f"lack {', '.join(missing)}"
        )
    return {str(key): value.detach() for key, value in state_dict.items()}


def _config(hyper_parameters: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    config = hyper_parameters.get("config", hyper_parameters)
    if not isinstance(config, Mapping):
        raise ValueError(
            f"{path}: hyper_parameters.config is a {type(config).__name__}, expected a mapping"
        )
    config = plain(config)
    missing = [option for option in NEEDED_OPTIONS if look_up(config, option.split(".")) is None]
    if missing:
        raise ValueError(f"{path}: the checkpoint's configuration lacks {', '.join(missing)}")
    return config


def plain(value: Any) -> Any:
    """Nested mappings and sequences as dicts and lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
