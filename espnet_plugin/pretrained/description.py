"""What a stored model is, without building it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from espnet_plugin.pretrained.storage_format import LOG_SCALE, TOKEN_TABLE
from espnet_plugin.pretrained.stored_model import opened
from espnet_plugin.speechclip.factory import architecture_name
from espnet_plugin.speechclip.model import SpeechCLIPModel

NOT_TRAINED = (*SpeechCLIPModel.frozen_prefixes, TOKEN_TABLE, LOG_SCALE)


def describe_model(source: str | Path) -> dict[str, Any]:
    """What a model is made of, and how much of it was trained, for JSON.

    Args:
        source: As for :func:`load_speechclip`, which also says what is raised.
    """
    with opened(source, trusted=True) as stored:  # nothing that it names is built
        config, weights = stored.config, stored.read_weights()
        identity = _fingerprint(config, weights)
    speech_encoder, clip = (config.get(f"{name}_conf") or {} for name in ("speech_encoder", "clip"))
    return {
        "model": str(source),
        "architecture": architecture_name(config),
        "speech_encoder": speech_encoder.get("model") or speech_encoder.get("checkpoint"),
        "clip": clip.get("model"),
        "clip_weights": clip.get("pretrained"),
        "trained_weights": sum(
            weight.numel() for name, weight in weights.items() if not name.startswith(NOT_TRAINED)
        ),
        "fingerprint": identity,
    }


def model_fingerprint(source: str | Path) -> str:
    """SHA-256 of what a trained model's embeddings come from, however it is stored.

    That is the trained weights and the frozen CLIP, by the content of its files or, where it is a
    public one, by its name. The model is not built.

    Args:
        source: As for :func:`load_speechclip`, which also says what is raised.
    """
    with opened(source, trusted=True) as stored:  # nothing that it names is built
        return _fingerprint(stored.config, stored.read_weights())


def _fingerprint(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        if not name.startswith(NOT_TRAINED):
            digest.update(f"{name} {tuple(weight.shape)}\n".encode())
            digest.update(weight.float().contiguous().numpy().tobytes())
    for option in ("model", "pretrained"):
        value = str((config.get("clip_conf") or {}).get(option))
        if not Path(value).is_file():
            digest.update(f"{option} {value}\n".encode())
            continue
        with open(value, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
