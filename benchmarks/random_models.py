"""Models of real sizes with random weights, as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HUBERT: dict[str, dict[str, Any]] = {
    "base": {},
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
    },
    "tiny": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "parallel": {"keyword_extractor": "none", "attention": "transformer"},
    "cascaded": {"keyword_extractor": "cls", "model_conf": {"parallel": False}},
    "cascaded+": {"keyword_extractor": "cif", "model_conf": {"parallel": False}},
    "hybrid": {"keyword_extractor": "cls"},
    "hybrid+": {"keyword_extractor": "cif"},
}


def export_random_model(size: str, architecture: str, directory: Path) -> None:
    """An exported model in ``directory/model`` and its encoder alone in ``directory/encoder``.

    CLIP's towers have one layer: what is measured with them does not run them, or little.
    """
    from transformers import HubertConfig, HubertModel
    from transformers.utils import logging

    from espnet_plugin.pretrained import save_speechclip
    from espnet_plugin.speechclip import build_speechclip

    logging.disable_progress_bar()
    encoder = directory / "encoder"
    HubertModel(HubertConfig(**HUBERT[size])).save_pretrained(encoder)
    tower = {"width": 512, "heads": 8, "layers": 1}
    clip = {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "layers": 1, "width": 64},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, **tower},
    }
    (directory / "clip.json").write_text(json.dumps(clip))
    config = {
        "speech_encoder_conf": {"model": str(encoder)},
        "clip_conf": {"model": str(directory / "clip.json")},
        "keyword_vocabulary": list(range(1000, 9000)),
        **ARCHITECTURES[architecture],
    }
    save_speechclip(build_speechclip(config), config, directory / "model")
