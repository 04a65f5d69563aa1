"""What a configuration describes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def architecture(config: Mapping[str, Any]) -> str:
    """The papers' name of what a configuration describes."""
    parallel = config.get("model_conf", {}).get("parallel", True)
    names = {
        ("none", True): "parallel",
        ("cls", False): "cascaded",
        ("cif", False): "cascaded+",
        ("cls", True): "hybrid",
        ("cif", True): "hybrid+",
    }
    return names[config.get("keyword_extractor", "cif"), parallel]


def expected_weights(
    directory: Path, config: Mapping[str, Any], table: Tensor | None
) -> dict[str, Tensor]:
    """The trained part of the model that a configuration describes: names and shapes, without
    memory.

    Args:
        directory: Where the configuration's relative paths begin.
        config: Of the converted model.
        table: Embeddings of its keyword vocabulary.
    """
    from espnet_plugin.speechclip.clip import FrozenCLIP
    from espnet_plugin.speechclip.factory import build_speechclip
    from espnet_plugin.speechclip.speech_encoder import FrozenSpeechEncoder
    from espnet_plugin.speechclip.storage_format import resolve_paths

    config = resolve_paths(dict(config), directory)
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # "random weights"
    try:
        with torch.device("meta"):
            encoder_conf = {**config["speech_encoder_conf"], "random_weights": True}
            model = build_speechclip(
                config,
                speech_encoder=FrozenSpeechEncoder(config["speech_encoder"], **encoder_conf),
                clip=FrozenCLIP(
                    model=config["clip_conf"]["model"], image_tower=False, text_tower=False
                ),
                token_table=None if table is None else table.to("meta"),
            )
    finally:
        logging.disable(level)
    return {
        key: value
        for key, value in model.state_dict().items()
        if not key.startswith(model.frozen_prefixes)
    }
