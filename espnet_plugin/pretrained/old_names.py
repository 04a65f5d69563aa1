"""What models of earlier versions have otherwise: names of weights, and what Whisper read.

Everything that loads weights takes the names from before the cascaded branch was a module, and new
ones. So exported and packed models and checkpoints of earlier versions open, and trainings resume
from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import nn

Value = TypeVar("Value")

# Beginnings of old names, and what takes their place.
OLD_NAMES = {
    "keyword_extractor.": "keyword_branch.extractor.",
    "keyword_projection.": "keyword_branch.projection.",
    "keyword_norm.": "keyword_branch.norm.",
    "quantizer.": "keyword_branch.quantizer.",
    "blank.": "keyword_branch.blank.",
    "key_offsets": "keyword_branch.key_offsets",
}


def new_name(name: str) -> str:
    """Today's name of a weight of the model."""
    for old, new in OLD_NAMES.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def with_new_names(weights: Mapping[str, Value]) -> dict[str, Value]:
    """Weights of the model under today's names."""
    return {new_name(name): value for name, value in weights.items()}


def keep_old_context(config: dict[str, Any]) -> None:
    """Sets the context of a Whisper that was trained when each utterance was read as 30 s.

    Every training wrote ``language_batches`` then, and none has since.
    """
    if config.get("speech_encoder") == "whisper" and "language_batches" in config:
        config["speech_encoder_conf"] = {"context": 30.0, **(config["speech_encoder_conf"] or {})}


def accept_old_names(model: nn.Module) -> None:
    """Lets ``load_state_dict`` of a model, and of what holds it, take old names, too."""

    def rename(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
        for key in [key for key in state if key.startswith(prefix)]:
            name = new_name(key.removeprefix(prefix))
            if prefix + name != key:
                state[prefix + name] = state.pop(key)

    model.register_load_state_dict_pre_hook(rename)
