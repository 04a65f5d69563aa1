"""Describe a stored model without building it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from espnet_plugin.pretrained.fingerprint import NOT_TRAINED, fingerprint_of
from espnet_plugin.pretrained.released import released_models
from espnet_plugin.pretrained.released_cache import fetched
from espnet_plugin.pretrained.storage import open_model
from espnet_plugin.pretrained.trust import lies_within
from espnet_plugin.utils.architectures import architecture_name
from espnet_plugin.utils.disk import size_text


def describe_model(source: str | Path) -> dict[str, Any]:
    """The parts of a model and the number of its trained weights, for JSON.

    Args:
        source: A model in any form that :func:`load_speechclip` takes, which lists the errors, too.
    """
    with open_model(source, trusted=True) as stored:  # nothing that it names is built
        config, weights = stored.config, stored.read_weights()
        identity = fingerprint_of(config, weights, stored.choices)
        languages = stored.spoken_languages
        shown = partial(_shown, root=stored.root)
    speech_encoder, clip = (config.get(f"{name}_conf") or {} for name in ("speech_encoder", "clip"))
    return {
        "model": str(source),
        "architecture": architecture_name(config),
        "speech_encoder": shown(speech_encoder.get("model") or speech_encoder.get("checkpoint")),
        "clip": shown(clip.get("model")),
        "clip_weights": shown(clip.get("pretrained")),
        "spoken_languages": list(languages),
        "trained_weights": sum(
            weight.numel() for name, weight in weights.items() if not name.startswith(NOT_TRAINED)
        ),
        "fingerprint": identity,
    }


def describe_released() -> list[dict[str, Any]]:
    """The released models with their size in bytes, and whether they are downloaded, for JSON."""
    found = [(model, fetched(model)) for model in released_models()]
    return [
        {**asdict(model), "size": here.size if here else None, "downloaded": here is not None}
        for model, here in found
    ]


def released_table(described: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Rows of a table of what :func:`describe_released` gives, the header first."""
    rows: list[tuple[str, ...]]
    rows = [("name", "architecture", "speech encoder", "CLIP", "corpus", "published recall",
             "download", "here")]  # fmt: skip
    for model in described:
        size = size_text(model["size"] or model["frozen_size"])
        names = (model[key] for key in ("name", "architecture", "speech_encoder", "clip", "corpus"))
        recall = f"{model['recall']:.2f} % @{model['recall_at']}"
        shown = size if model["size"] else f"about {size}"
        rows.append((*names, recall, shown, "yes" if model["downloaded"] else "no"))
    return rows


def _shown(value: Any, *, root: Path | None) -> Any:
    """Shows a file of the model by its path in the model, whose folder may be temporary."""
    if value is None or root is None or not lies_within(value, root):
        return value
    return os.path.relpath(value, root)
