"""The CLIP of a released checkpoint as an open_clip configuration and weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from espnet_plugin.teachers.weights import check_fit

MODEL_FILE = "clip.json"
WEIGHTS_FILE = "weights.safetensors"
TOKEN_EMBEDDING = "token_embedding.weight"
NOT_USED = ("logit_scale",)
HEAD_WIDTH = 64  # of every CLIP that OpenAI released


def open_clip_config(weights: Mapping[str, Tensor], table: Tensor) -> dict[str, Any]:
    """open_clip's configuration of an OpenAI vision transformer, from its weights' shapes.

    Args:
        weights: Weights under OpenAI's names.
        table: All token embeddings, (V, width).

    Raises:
        KeyError: If a weight is missing that every such model has; it is named.
    """
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    patch = weights["visual.conv1.weight"].shape[3]
    grid = math.isqrt(weights["visual.positional_embedding"].shape[0] - 1)
    vision, text = _tower(weights, "visual."), _tower(weights, "")
    return {
        "model_cfg": {
            "embed_dim": weights["text_projection"].shape[1],
            "quick_gelu": True,
            "vision_cfg": {
                "image_size": grid * patch,
                "patch_size": patch,
                "head_width": min(HEAD_WIDTH, vision["width"]),
                **vision,
            },
            "text_cfg": {
                "context_length": weights["positional_embedding"].shape[0],
                "vocab_size": table.shape[0],
                "heads": max(1, text["width"] // HEAD_WIDTH),
                **text,
            },
        },
        "preprocess_cfg": {
            "mean": OPENAI_DATASET_MEAN,
            "std": OPENAI_DATASET_STD,
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }


def _tower(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    blocks = f"{prefix}transformer.resblocks."
    layers = {key.removeprefix(blocks).split(".")[0] for key in weights if key.startswith(blocks)}
    hidden, width = weights[f"{blocks}0.mlp.c_fc.weight"].shape
    return {"width": width, "layers": len(layers), "mlp_ratio": hidden / width}


def write_clip(directory: Path, weights: Mapping[str, Tensor], table: Tensor) -> None:
    """Writes ``clip.json`` and ``weights.safetensors`` with the whole token table.

    Raises:
        ValueError: If a weight is missing, not known, or of another shape than the others say.
    """
    from open_clip import CLIP

    try:
        config = open_clip_config(weights, table)
    except KeyError as error:
        raise ValueError(
            "the CLIP in the checkpoint is not an OpenAI vision transformer: "
            f"it has no {error.args[0]}"
        ) from error
    whole = {**weights, TOKEN_EMBEDDING: table}
    whole = {k: v.float().contiguous() for k, v in whole.items() if k not in NOT_USED}
    with torch.device("meta"):
        expected = CLIP(**config["model_cfg"]).state_dict()
    expected = {key: value for key, value in expected.items() if key not in NOT_USED}
    check_fit(whole, expected, "the weights of the CLIP do not fit")
    directory.mkdir(parents=True, exist_ok=True)
    save_file(whole, directory / WEIGHTS_FILE, metadata={"format": "pt"})
    (directory / MODEL_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
