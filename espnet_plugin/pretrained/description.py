"""What a stored model is, without building it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from espnet_plugin.pretrained.fingerprint import NOT_TRAINED, fingerprint_of
from espnet_plugin.pretrained.stored_model import opened
from espnet_plugin.pretrained.trust import lies_within
from espnet_plugin.utils.architectures import architecture_name


def describe_model(source: str | Path) -> dict[str, Any]:
    """What a model is made of, and how much of it was trained, for JSON.

    Args:
        source: As for :func:`load_speechclip`, which also says what is raised.
    """
    with opened(source, trusted=True) as stored:  # nothing that it names is built
        config, weights = stored.config, stored.read_weights()
        identity = fingerprint_of(config, weights)
        shown = partial(_shown, root=stored.root)
    speech_encoder, clip = (config.get(f"{name}_conf") or {} for name in ("speech_encoder", "clip"))
    return {
        "model": str(source),
        "architecture": architecture_name(config),
        "speech_encoder": shown(speech_encoder.get("model") or speech_encoder.get("checkpoint")),
        "clip": shown(clip.get("model")),
        "clip_weights": shown(clip.get("pretrained")),
        "trained_weights": sum(
            weight.numel() for name, weight in weights.items() if not name.startswith(NOT_TRAINED)
        ),
        "fingerprint": identity,
    }


def _shown(value: Any, *, root: Path | None) -> Any:
    """A file of the model by its path in it: a zip file's are in a folder that is gone again."""
    if value is None or root is None or not lies_within(value, root):
        return value
    return os.path.relpath(value, root)
