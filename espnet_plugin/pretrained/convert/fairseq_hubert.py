"""Convert HuBERT weights in fairseq's layout (also s3prl's) to transformers' HuBERT."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from espnet_plugin.teachers.weights import check_fit

# Parts of fairseq's names → of transformers' names, replaced one after the other.
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"^(feature_extractor\.conv_layers\.\d+)\.0\.", r"\1.conv."),
    # group norm of base models' first layer; layer norm (behind a transposition) of large ones
    (r"^(feature_extractor\.conv_layers\.\d+)\.2\.(?:1\.)?", r"\1.layer_norm."),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^mask_emb$", "masked_spec_embed"),
    (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
    (r"\.self_attn\.", ".attention."),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
)
PRETRAINING_HEADS = ("label_embs_concat", "final_proj.")
# Trained for augmentation only; public copies of a model may lack it.
NOT_COMPARED = ("masked_spec_embed",)


def map_fairseq_hubert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames fairseq's HuBERT weights to those of ``transformers.HubertModel``.

    Pre-training heads are left out. Names that no HuBERT has stay as they are. If the convolutions
    are as wide as the transformer, fairseq has no projection: it becomes the identity.

    Args:
        state_dict: Weights without any prefix, as in ``model.state_dict()``.
    """
    mapped: dict[str, Tensor] = {}
    for key, value in state_dict.items():
        if key.startswith(PRETRAINING_HEADS):
            continue
        for pattern, replacement in _RENAMES:
            key = re.sub(pattern, replacement, key)
        mapped[key] = value
    if "layer_norm.weight" in state_dict and "post_extract_proj.weight" not in state_dict:
        norm = state_dict["layer_norm.weight"]
        mapped["feature_projection.projection.weight"] = torch.eye(len(norm), dtype=norm.dtype)
        mapped["feature_projection.projection.bias"] = torch.zeros_like(norm)
    return mapped


def hubert_config_options(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Options of ``transformers.HubertConfig`` that fit fairseq's HuBERT weights.

    The shapes give everything but the number of heads (16 in large layouts, 12 in base ones) and
    the strides (5, 2, 2, 2, 2, 2, 2).

    Args:
        state_dict: Weights under fairseq's names, without any prefix.

    Raises:
        KeyError: If a weight is missing that every HuBERT has; it is named.
    """
    convolutions = [
        state_dict[f"feature_extractor.conv_layers.{layer}.0.weight"] for layer in range(7)
    ]
    large = "feature_extractor.conv_layers.1.2.1.weight" in state_dict
    dim = state_dict["encoder.layer_norm.weight"].shape[0]
    # (dim, dim / groups, width); weight norm has had two ways to name its parts
    parametrized = "encoder.pos_conv.0.parametrizations.weight.original1"
    position = state_dict.get(parametrized)
    if position is None:
        position = state_dict["encoder.pos_conv.0.weight_v"]
    layers = {key.split(".")[2] for key in state_dict if key.startswith("encoder.layers.")}
    return {
        "hidden_size": dim,
        "num_hidden_layers": len(layers),
        "num_attention_heads": 16 if large else 12,
        "intermediate_size": state_dict["encoder.layers.0.fc1.weight"].shape[0],
        "conv_dim": [weight.shape[0] for weight in convolutions],
        "conv_kernel": [weight.shape[2] for weight in convolutions],
        "conv_stride": [5, 2, 2, 2, 2, 2, 2],
        "conv_bias": "feature_extractor.conv_layers.0.0.bias" in state_dict,
        "num_feat_extract_layers": len(convolutions),
        "feat_extract_norm": "layer" if large else "group",
        "do_stable_layer_norm": large,
        "feat_proj_layer_norm": True,
        "num_conv_pos_embeddings": position.shape[2],
        "num_conv_pos_embedding_groups": dim // position.shape[1],
    }


def write_hubert(directory: Path, weights: Mapping[str, Tensor]) -> None:
    """Writes ``config.json``, ``model.safetensors`` and ``preprocessor_config.json`` as
    ``save_pretrained`` does.

    Args:
        directory: Directory where the files go.
        weights: Weights under fairseq's names.

    Raises:
        ValueError: If these are not the weights of a HuBERT.
    """
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    try:
        config = HubertConfig(**hubert_config_options(weights), architectures=["HubertModel"])
    except KeyError as error:
        raise ValueError(
            f"the speech encoder in the checkpoint is not a HuBERT: it has no {error.args[0]}"
        ) from error
    mapped = map_fairseq_hubert(weights)
    with torch.device("meta"):
        expected = HubertModel(config).state_dict()
    for name in NOT_COMPARED:
        expected.pop(name, None)
    compared = {key: value for key, value in mapped.items() if key not in NOT_COMPARED}
    check_fit(compared, expected, "the weights of the HuBERT do not fit")
    directory.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(directory)
    save_file(
        {key: value.float().contiguous() for key, value in mapped.items()},
        directory / "model.safetensors",
        metadata={"format": "pt"},
    )
    large = config.feat_extract_norm == "layer"
    extractor = Wav2Vec2FeatureExtractor(do_normalize=large, return_attention_mask=large)
    extractor.save_pretrained(directory)
