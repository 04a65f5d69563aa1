"""HuBERT weights in fairseq's layout (also s3prl's) as a HuBERT of the transformers library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

# fairseq name → transformers name; the first pattern that matches the whole key is taken.
_RENAMES: tuple[tuple[str, str], ...] = (
    (
        r"feature_extractor\.conv_layers\.(\d+)\.0\.(.+)",
        r"feature_extractor.conv_layers.\1.conv.\2",
    ),
    # group norm of base models' first layer; layer norm (behind a transposition) of large ones
    (
        r"feature_extractor\.conv_layers\.(\d+)\.2\.(?:1\.)?(weight|bias)",
        r"feature_extractor.conv_layers.\1.layer_norm.\2",
    ),
    (r"layer_norm\.(.+)", r"feature_projection.layer_norm.\1"),
    (r"post_extract_proj\.(.+)", r"feature_projection.projection.\1"),
    (r"mask_emb", r"masked_spec_embed"),
    (r"encoder\.pos_conv\.0\.bias", r"encoder.pos_conv_embed.conv.bias"),
    (
        r"encoder\.pos_conv\.0\.(?:weight_g|parametrizations\.weight\.original0)",
        r"encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    ),
    (
        r"encoder\.pos_conv\.0\.(?:weight_v|parametrizations\.weight\.original1)",
        r"encoder.pos_conv_embed.conv.parametrizations.weight.original1",
    ),
    (
        r"encoder\.layers\.(\d+)\.self_attn\.(q_proj|k_proj|v_proj|out_proj)\.(.+)",
        r"encoder.layers.\1.attention.\2.\3",
    ),
    (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.(.+)", r"encoder.layers.\1.layer_norm.\2"),
    (r"encoder\.layers\.(\d+)\.final_layer_norm\.(.+)", r"encoder.layers.\1.final_layer_norm.\2"),
    (
        r"encoder\.layers\.(\d+)\.fc1\.(.+)",
        r"encoder.layers.\1.feed_forward.intermediate_dense.\2",
    ),
    (r"encoder\.layers\.(\d+)\.fc2\.(.+)", r"encoder.layers.\1.feed_forward.output_dense.\2"),
    (r"encoder\.layer_norm\.(.+)", r"encoder.layer_norm.\1"),
)
_PRETRAINING_ONLY = re.compile(r"label_embs_concat|final_proj\..+")


def map_fairseq_hubert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename fairseq's HuBERT weights to those of ``transformers.HubertModel``.

    The heads of pre-training (``final_proj``, ``label_embs_concat``) are left out. fairseq has no
    projection where the convolutions are as wide as the transformer: it becomes the identity.

    Args:
        state_dict: weights without any prefix, as in ``model.state_dict()``.

    Raises:
        KeyError: naming the parameters that are none of a HuBERT.
    """
    mapped: dict[str, Tensor] = {}
    unknown = []
    for key, value in state_dict.items():
        if _PRETRAINING_ONLY.fullmatch(key):
            continue
        for pattern, replacement in _RENAMES:
            match = re.fullmatch(pattern, key)
            if match:
                mapped[match.expand(replacement)] = value
                break
        else:
            unknown.append(key)
    if unknown:
        raise KeyError(f"not weights of a fairseq HuBERT: {', '.join(sorted(unknown)[:5])}")
    if "layer_norm.weight" in state_dict and "post_extract_proj.weight" not in state_dict:
        norm = state_dict["layer_norm.weight"]
        mapped["feature_projection.projection.weight"] = torch.eye(len(norm), dtype=norm.dtype)
        mapped["feature_projection.projection.bias"] = torch.zeros_like(norm)
    return mapped


def hubert_config_options(
    state_dict: Mapping[str, Tensor], *, num_heads: int | None = None
) -> dict[str, Any]:
    """Options of ``transformers.HubertConfig`` that fit fairseq's HuBERT weights.

    Everything but the number of heads and the strides shows in the shapes; the strides are
    HuBERT's own (5, 2, 2, 2, 2, 2, 2).

    Args:
        state_dict: weights under fairseq's names, as for ``map_fairseq_hubert``.
        num_heads: attention heads; None = 16 for large layouts and 12 for base, as released.

    Raises:
        ValueError: if the weights are no HuBERT of seven convolutions, or the heads do not
            divide the width.
    """
    weights = _conv_weights(state_dict)
    if len(weights) != 7:
        raise ValueError(f"a HuBERT has 7 convolutions, these weights have {len(weights)}")
    large = "feature_extractor.conv_layers.1.2.1.weight" in state_dict
    dim = state_dict["encoder.layer_norm.weight"].shape[0]
    if num_heads is None:
        num_heads = 16 if large else 12
    if dim % num_heads:
        raise ValueError(f"{num_heads} heads do not divide the HuBERT's width of {dim}")
    position = _position_weight(state_dict)
    layers = {
        int(match.group(1))
        for match in (re.match(r"encoder\.layers\.(\d+)\.", key) for key in state_dict)
        if match
    }
    return {
        "hidden_size": dim,
        "num_hidden_layers": len(layers),
        "num_attention_heads": num_heads,
        "intermediate_size": state_dict["encoder.layers.0.fc1.weight"].shape[0],
        "conv_dim": [weight.shape[0] for weight in weights],
        "conv_kernel": [weight.shape[2] for weight in weights],
        "conv_stride": [5, 2, 2, 2, 2, 2, 2],
        "conv_bias": "feature_extractor.conv_layers.0.0.bias" in state_dict,
        "num_feat_extract_layers": len(weights),
        "feat_extract_norm": "layer" if large else "group",
        "do_stable_layer_norm": large,
        "feat_proj_layer_norm": True,
        "num_conv_pos_embeddings": position.shape[2],
        "num_conv_pos_embedding_groups": dim // position.shape[1],
    }


def _conv_weights(state_dict: Mapping[str, Tensor]) -> list[Tensor]:
    pattern = re.compile(r"feature_extractor\.conv_layers\.(\d+)\.0\.weight")
    found = {
        int(match.group(1)): value
        for match, value in ((pattern.fullmatch(key), value) for key, value in state_dict.items())
        if match
    }
    return [found[index] for index in sorted(found)]


def _position_weight(state_dict: Mapping[str, Tensor]) -> Tensor:
    for name in ("weight_v", "parametrizations.weight.original1"):
        key = f"encoder.pos_conv.0.{name}"
        if key in state_dict:
            return state_dict[key]  # (dim, dim / groups, width)
    raise ValueError("these weights have no position convolution (encoder.pos_conv.0.weight_v)")
