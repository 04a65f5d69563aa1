"""The CLIP of a released checkpoint as an open_clip configuration and weights."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from espnet_plugin.speechclip.weights import check_fit

MODEL_FILE = "clip.json"
WEIGHTS_FILE = "weights.safetensors"
TABLE = "token_embedding.weight"
HEAD_WIDTH = 64  # of every CLIP that OpenAI released
# Of OpenAI's preprocessing: channel statistics of its training images.
_MEAN = [0.48145466, 0.4578275, 0.40821073]
_STD = [0.26862954, 0.26130258, 0.27577711]
_NEEDED = (
    "visual.conv1.weight",
    "visual.class_embedding",
    "visual.positional_embedding",
    "visual.proj",
    "visual.transformer.resblocks.0.mlp.c_fc.weight",
    "positional_embedding",
    "text_projection",
    "ln_final.weight",
    "transformer.resblocks.0.mlp.c_fc.weight",
)
_UNUSED = ("logit_scale",)


def open_clip_config(weights: Mapping[str, Tensor], table: Tensor) -> dict[str, Any]:
    """open_clip's configuration of an OpenAI vision transformer, read from the shapes of its
    weights.

    Args:
        weights: Under OpenAI's names.
        table: All token embeddings, (V, width).

    Raises:
        ValueError: If these are no such weights.
    """
    missing = [key for key in _NEEDED if key not in weights]
    if missing:
        raise ValueError(
            "the CLIP in the checkpoint is no vision transformer of OpenAI's: "
            f"no {', '.join(missing[:3])}"
        )
    width, _, _, patch = weights["visual.conv1.weight"].shape
    grid = math.isqrt(weights["visual.positional_embedding"].shape[0] - 1)
    text_width = weights["ln_final.weight"].shape[0]
    context_length = weights["positional_embedding"].shape[0]
    return {
        "model_cfg": {
            "embed_dim": weights["text_projection"].shape[1],
            "quick_gelu": True,
            "vision_cfg": {
                "image_size": grid * patch,
                "patch_size": patch,
                "layers": _count_layers(weights, "visual."),
                "width": width,
                "head_width": width // _heads(width),
                "mlp_ratio": _mlp_ratio(weights, "visual.", width),
            },
            "text_cfg": {
                "context_length": context_length,
                "vocab_size": table.shape[0],
                "width": text_width,
                "heads": _heads(text_width),
                "layers": _count_layers(weights, ""),
                "mlp_ratio": _mlp_ratio(weights, "", text_width),
            },
        },
        "preprocess_cfg": {
            "mean": _MEAN,
            "std": _STD,
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }


def write_clip(directory: Path, weights: Mapping[str, Tensor], table: Tensor) -> None:
    """Writes ``clip.json`` and ``weights.safetensors`` with the whole token table.

    Raises:
        ValueError: If a weight is missing, not known, or of another shape than the others say.
    """
    config = open_clip_config(weights, table)
    whole = {**weights, TABLE: table}
    whole = {k: v.float().contiguous() for k, v in whole.items() if k not in _UNUSED}
    _check(config["model_cfg"], whole)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(whole, directory / WEIGHTS_FILE, metadata={"format": "pt"})
    (directory / MODEL_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read_public_clip(model: str, pretrained: str) -> dict[str, Tensor]:
    """Weights of a public CLIP under OpenAI's names.

    Raises:
        FileNotFoundError: If they are neither here nor can be downloaded.
        ValueError: If the name is not known.
    """
    from espnet_plugin.speechclip.clip_config import find_weights, read_clip_config
    from espnet_plugin.speechclip.clip_weights import read_clip_weights

    path = find_weights(read_clip_config(model), pretrained)
    return read_clip_weights(path)[0]


def differing_weights(weights: Mapping[str, Tensor], public: Mapping[str, Tensor]) -> list[str]:
    """Names of weights that are not the same, bit by bit, in both."""
    names = {key for key in (*weights, *public) if key not in _UNUSED}
    return sorted(
        key
        for key in names
        if key not in weights
        or key not in public
        or not torch.equal(weights[key].float(), public[key].float())
    )


def _check(model_config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    from open_clip import CLIP

    with torch.device("meta"):
        expected = CLIP(**model_config).state_dict()
    expected = {key: value for key, value in expected.items() if key not in _UNUSED}
    check_fit(weights, expected, "the weights of the CLIP do not fit")


def _heads(width: int) -> int:
    return max(1, width // HEAD_WIDTH)


def _count_layers(weights: Mapping[str, Tensor], prefix: str) -> int:
    pattern = re.compile(rf"{re.escape(prefix)}transformer\.resblocks\.(\d+)\.")
    return len({match.group(1) for match in map(pattern.match, weights) if match})


def _mlp_ratio(weights: Mapping[str, Tensor], prefix: str, width: int) -> float:
    return weights[f"{prefix}transformer.resblocks.0.mlp.c_fc.weight"].shape[0] / width
