"""Describe a stored model without building it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from espnet_plugin.data.english import content_words
from espnet_plugin.pretrained.fingerprint import model_fingerprint
from espnet_plugin.pretrained.released import released_models
from espnet_plugin.pretrained.released_cache import fetched
from espnet_plugin.pretrained.storage import open_model
from espnet_plugin.pretrained.stored_model import LOG_SCALE, TOKEN_TABLE
from espnet_plugin.pretrained.trust import lies_within
from espnet_plugin.teachers.hub import CONFIG_JSON
from espnet_plugin.utils.architectures import architecture_name
from espnet_plugin.utils.disk import size_text
from espnet_plugin.utils.small_files import read_json

# Frozen prefixes of SpeechCLIPModel, whose import takes seconds, and tensors beside its weights.
NOT_TRAINED = ("speech_encoder.", "clip.", TOKEN_TABLE, LOG_SCALE)


def describe_model(source: str | Path) -> dict[str, Any]:
    """The parts of a model and the number of its trained weights, for JSON.

    Args:
        source: A model in any form that :func:`load_speechclip` takes, which lists the errors, too.
    """
    with open_model(source, trusted=True) as stored:  # nothing that it names is built
        config, weights = stored.config, stored.read_weights()
        languages = stored.spoken_languages
        shown = partial(_shown, root=stored.root)
        speech_encoder = config.get("speech_encoder_conf") or {}
        clip = config.get("clip_conf") or {}
        encoder = speech_encoder.get("model") or speech_encoder.get("checkpoint")
        described = {
            "speech_encoder": _named(shown(encoder), encoder_form(encoder)),
            "clip": _named(shown(clip.get("model")), _clip_name(clip.get("model"))),
            "clip_weights": shown(clip.get("pretrained")),
            "words": _words(config),
        }
    return {
        "model": str(source),
        "architecture": architecture_name(config),
        **described,
        "spoken_languages": list(languages),
        "trained_weights": sum(
            weight.numel() for name, weight in weights.items() if not name.startswith(NOT_TRAINED)
        ),
        "fingerprint": model_fingerprint(source),
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


def _named(shown: Any, name: str) -> Any:
    return f"{name} ({shown})" if name else shown


def encoder_form(value: Any) -> str:
    """Kind and size of an encoder that is a folder of transformers, or an empty text."""
    file = Path(str(value)) / CONFIG_JSON
    content = read_json(file) if file.is_file() else None
    if not isinstance(content, dict):
        return ""
    kind = content.get("model_type")
    # the second name is Whisper's
    layers = content.get("num_hidden_layers") or content.get("encoder_layers")
    width = content.get("hidden_size") or content.get("d_model")
    return f"{kind}, {layers} layers of {width}" if kind and layers and width else ""


def _clip_name(value: Any) -> str:
    """Name of a CLIP that is a file, or an empty text."""
    return Path(str(value)).stem if str(value).endswith(".json") else ""


def _words(config: Mapping[str, Any]) -> list[str]:
    """Words that can be keywords, without function words and parts of words."""
    from espnet_plugin.model.factory import has_keywords  # PyTorch takes a second
    from espnet_plugin.model.vocabulary import resolve_vocabulary
    from espnet_plugin.teachers.clip_config import load_bpe

    if not has_keywords(config):
        return []
    tokens = load_bpe(str((config.get("clip_conf") or {}).get("model"))).decoder
    ids = resolve_vocabulary(config.get("keyword_vocabulary"), special_ids=()).ids
    return content_words(tokens[i] for i in ids if i in tokens)


def _shown(value: Any, *, root: Path | None) -> Any:
    """Shows a file of the model by its path in the model."""
    if value is None or root is None or not lies_within(value, root):
        return value
    return os.path.relpath(value, root)
