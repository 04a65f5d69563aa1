"""Tiny exported models of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import tiny_clip_config, tiny_clip_weights, tiny_hubert_dir

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "parallel": {
        "keyword_extractor": "none",
        "attention": "transformer",
        "attention_conf": {"num_heads": 2, "feed_forward_dim": 48, "num_layers": 1},
    },
    "cascaded": {
        "keyword_extractor": "cls",
        "keyword_extractor_conf": {"num_keywords": 3},
        "model_conf": {"parallel": False},
    },
    "cascaded+": {"keyword_extractor": "cif", "model_conf": {"parallel": False}},
    "hybrid": {"keyword_extractor": "cls", "keyword_extractor_conf": {"num_keywords": 3}},
    "hybrid+": {"keyword_extractor": "cif", "keyword_extractor_conf": {"frames_per_keyword": 4}},
}


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Function of an architecture and a layout (stable: large) to an exported model."""
    from espnet_plugin.model.factory import build_speechclip
    from espnet_plugin.pretrained import save_speechclip

    root = tmp_path_factory.mktemp("models")
    clip = tiny_clip_config(root)
    weights = tiny_clip_weights(root, clip)

    def export(architecture: str = "hybrid+", *, stable: bool = False) -> Path:
        target = root / f"{architecture}_{'large' if stable else 'base'}"
        if target.exists():
            return target
        config = {
            "speech_encoder": "huggingface",
            "speech_encoder_conf": {"model": str(tiny_hubert_dir(root, stable=stable))},
            "clip_conf": {"model": str(clip), "pretrained": str(weights)},
            "keyword_vocabulary": list(range(500, 530)),
            "attention_conf": {"num_heads": 2},
            **ARCHITECTURES[architecture],
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            model = build_speechclip(config).eval()
        save_speechclip(model, config, target)
        return target

    return export


@pytest.fixture(scope="session")
def model_dir(exported: Callable[..., Path]) -> Path:
    """A hybrid+ model."""
    return exported()
