from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from espnet_plugin.speechclip import build_speechclip, save_speechclip
from tests.tiny import tiny_clip_config, tiny_clip_weights, tiny_hubert_dir


@pytest.fixture(scope="session")
def hybrid_plus_config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A model of both branches, whose vocabulary has pieces of words and whole ones."""
    directory = tmp_path_factory.mktemp("teachers")
    tiny_clip_weights(directory, tiny_clip_config(directory))
    return {
        "speech_encoder": "huggingface",
        "speech_encoder_conf": {"model": str(tiny_hubert_dir(directory))},
        "clip_conf": {
            "model": str(directory / "tiny_clip.json"),
            "pretrained": str(directory / "tiny_clip.safetensors"),
        },
        "keyword_vocabulary": {"ids": [320, 736, 1929, 5463, *range(500, 520)]},
        "keyword_extractor": "cif",
        "keyword_extractor_conf": {"frames_per_keyword": 4, "dropout": 0.0},
        "attention_conf": {"num_heads": 2, "dropout": 0.0},
        "model_conf": {"parallel": True},
    }


@pytest.fixture(scope="session")
def exported(hybrid_plus_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a model as ``save_speechclip`` writes it."""
    torch.manual_seed(1)
    directory = tmp_path_factory.mktemp("exported") / "model"
    save_speechclip(build_speechclip(hybrid_plus_config).eval(), hybrid_plus_config, directory)
    return directory
