"""Renaming fairseq's HuBERT weights; the numbers are checked in tests/parity."""

from __future__ import annotations

import pytest
import torch
import transformers

from espnet_plugin.pretrained.convert.fairseq_hubert import (
    hubert_config_options,
    map_fairseq_hubert,
)


def fairseq_weights(*, large: bool, dim: int = 24, conv: int = 16) -> dict[str, torch.Tensor]:
    """Shapes of a tiny HuBERT under fairseq's names."""
    weights = {"mask_emb": torch.zeros(dim), "final_proj.weight": torch.zeros(8, dim)}
    channels = 1
    for layer, width in enumerate((10, 3, 3, 3, 3, 2, 2)):
        prefix = f"feature_extractor.conv_layers.{layer}"
        weights[f"{prefix}.0.weight"] = torch.zeros(conv, channels, width)
        channels = conv
        if large or layer == 0:
            norm = f"{prefix}.2.1" if large else f"{prefix}.2"
            weights |= {f"{norm}.weight": torch.zeros(conv), f"{norm}.bias": torch.zeros(conv)}
    weights |= {"layer_norm.weight": torch.ones(conv), "layer_norm.bias": torch.zeros(conv)}
    if conv != dim:
        weights["post_extract_proj.weight"] = torch.zeros(dim, conv)
        weights["post_extract_proj.bias"] = torch.zeros(dim)
    weights["encoder.pos_conv.0.bias"] = torch.zeros(dim)
    weights["encoder.pos_conv.0.weight_g"] = torch.ones(1, 1, 128)
    weights["encoder.pos_conv.0.weight_v"] = torch.zeros(dim, dim // 8, 128)
    for layer in range(2):
        prefix = f"encoder.layers.{layer}"
        shapes = {f"self_attn.{name}_proj": (dim, dim) for name in ("q", "k", "v", "out")}
        shapes |= {"fc1": (48, dim), "fc2": (dim, 48)}
        for name, shape in shapes.items():
            weights[f"{prefix}.{name}.weight"] = torch.zeros(shape)
            weights[f"{prefix}.{name}.bias"] = torch.zeros(shape[0])
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            weights[f"{prefix}.{name}.weight"] = torch.ones(dim)
            weights[f"{prefix}.{name}.bias"] = torch.zeros(dim)
    weights |= {"encoder.layer_norm.weight": torch.ones(dim)}
    weights |= {"encoder.layer_norm.bias": torch.zeros(dim)}
    return weights


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("conv", [16, 24])
def test_every_weight_finds_its_place(large, conv):
    weights = fairseq_weights(large=large, conv=conv)
    options = hubert_config_options(weights) | {"num_attention_heads": 4}
    assert options["do_stable_layer_norm"] is large
    assert options["num_conv_pos_embedding_groups"] == 8
    model = transformers.HubertModel(transformers.HubertConfig(**options))
    model.load_state_dict(map_fairseq_hubert(weights), strict=True)


def test_missing_projection_is_the_identity():
    mapped = map_fairseq_hubert(fairseq_weights(large=False, conv=24))
    assert torch.equal(mapped["feature_projection.projection.weight"], torch.eye(24))


def test_released_numbers_of_heads():
    base = hubert_config_options(fairseq_weights(large=False))
    large = hubert_config_options(fairseq_weights(large=True, dim=32))
    assert (base["num_attention_heads"], large["num_attention_heads"]) == (12, 16)


def test_both_layouts_of_weight_norm():
    weights = fairseq_weights(large=False)
    renamed = {
        key.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): value
        for key, value in weights.items()
    }
    assert renamed.keys() != weights.keys()
    assert hubert_config_options(renamed) == hubert_config_options(weights)
    assert map_fairseq_hubert(renamed).keys() == map_fairseq_hubert(weights).keys()


def test_foreign_weights_keep_their_names_and_missing_ones_are_named():
    weights = fairseq_weights(large=False)
    assert "decoder.weight" in map_fairseq_hubert({**weights, "decoder.weight": torch.zeros(1)})
    del weights["feature_extractor.conv_layers.6.0.weight"]
    with pytest.raises(KeyError, match=r"conv_layers\.6"):
        hubert_config_options(weights)
