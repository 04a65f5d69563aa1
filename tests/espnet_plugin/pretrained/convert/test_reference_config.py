"""Options of the original and what they become."""

from __future__ import annotations

from typing import Any

import pytest

from espnet_plugin.pretrained.convert.reference_config import map_config

BLOCK = "cascaded_branch.self_att.multihead_attn_layer.in_proj_weight"
EACH = {"type": "eachKw"}
TRANSFORMER = "cascaded_branch.self_att.model.layers.0.linear1.weight"
QUANTIZER = "cascaded_branch.vector_quantizer.curr_temp"


def mapped(
    *,
    kind: str = "KW_CascadedBranch",
    args: dict[str, Any] | None = None,
    batchnorms: dict[str, Any] | None = EACH,
    settings: dict[str, Any] | None = None,
    keys: tuple[str, ...] = (BLOCK, QUANTIZER),
    encoder: str = "hubert_base",
) -> dict[str, Any]:
    """Our configuration of a small one of the original's."""
    branch = {
        "type": kind,
        "transformer_args": {"nhead": 2, "dim_feedforward": 8, **(args or {})},
        "vq": {"args": {"temp": "fixed=0.1"}},
        "keyword": {"number": 3} | ({} if batchnorms is None else {"batchnorms": batchnorms}),
        "downsampling": {"type": "cif", "cif": {}},
    }
    reference = {
        "model_settings": {"cascaded_branch": branch, **(settings or {})},
        "audio_encoder": {"name": encoder},
        "clip": {"name": "ViT-B/32"},
        "cl_loss": {"type": "MaskedContrastiveLoss"},
    }
    return map_config(reference, keys)


@pytest.mark.parametrize(
    "kind, extractor, parallel",
    [
        ("CascadedBranch", "cls", False),
        ("KW_CascadedBranch", "cls", False),
        ("CascadedBranch_plus", "cif", False),
        ("CascadedBranch_dynamic", "cif", False),
        ("KW_CascadedBranch_dynamic", "cif", False),
        ("HybridBranch", "cls", True),
        ("KW_HybridBranch", "cls", True),
        ("HybridBranch_dynamic", "cif", True),
        ("KW_HybridBranch_plus", "cif", True),
    ],
)
def test_every_spelling_of_a_branch(kind: str, extractor: str, parallel: bool) -> None:
    config = mapped(kind=kind)
    assert config["keyword_extractor"] == extractor
    assert config["model_conf"]["parallel"] is parallel


def test_unknown_branches_are_refused() -> None:
    with pytest.raises(ValueError, match="KW_Other has no counterpart; known: CascadedBranch, "):
        mapped(kind="KW_Other")


def test_options_of_the_block() -> None:
    args = {"activation": "relu", "layer_norm_eps": 1e-3}
    conf = mapped(args=args, keys=(TRANSFORMER, QUANTIZER))["attention_conf"]
    assert conf["activation"] == "relu" and conf["layer_norm_eps"] == 1e-3
    conf = mapped(args=args)["attention_conf"]  # has no activation
    assert conf == {"num_heads": 2, "dropout": 0.1, "layer_norm_eps": 1e-3}


@pytest.mark.parametrize("scale", [0.5, [0.5, 0.25, 1.0]])
def test_one_set_of_statistics_or_one_for_each_keyword(scale: Any) -> None:
    norms = {"std_scale": scale, "learnable": False}
    each, same = norms | {"type": "eachKw"}, norms | {"type": "same"}
    conf = {"scale": 0.5, "learnable": False}
    assert mapped(batchnorms=each)["keyword_norm_conf"] == conf
    assert mapped(batchnorms=same)["keyword_norm_conf"] == conf | {"per_slot": False}
    # one set in any case
    plus = mapped(kind="CascadedBranch_plus", batchnorms=each)
    assert plus["keyword_norm_conf"] == conf


@pytest.mark.parametrize("kind", ["CascadedBranch", "HybridBranch_plus"])
def test_no_batch_norm(kind: str) -> None:
    config = mapped(kind=kind, batchnorms=None)
    assert config["keyword_norm"] == "none" and "keyword_norm_conf" not in config


def test_absent_options_mean_what_they_mean_in_the_original() -> None:
    assert mapped(kind="CascadedBranch_plus")["model_conf"]["quantity_weight"] == 1.0
    assert mapped()["model_conf"]["quantity_weight"] == 0.0
    assert mapped()["keyword_projection_conf"] == {}


def test_unknown_batch_norms_are_refused() -> None:
    mapped(kind="CascadedBranch_plus", batchnorms={"type": "group"})  # is not read there
    with pytest.raises(ValueError, match="batchnorms.type group has no counterpart"):
        mapped(batchnorms={"type": "group"})


@pytest.mark.parametrize("owner", ["image_encoder", "parallel_branch", "cascaded_branch"])
def test_networks_behind_an_embedding_are_refused(owner: str) -> None:
    option = f"{owner}_projection"
    assert mapped(settings={option: None}) == mapped()
    with pytest.raises(ValueError, match=f"{option} has no counterpart: no released checkpoint"):
        mapped(settings={option: {"dimensions": [4, 4], "dropout": 0.0}})


def test_large_encoders_normalise_whatever_they_are_called() -> None:
    layout = "audio_encoder.encoder.feature_extractor.conv_layers.1.2.1.weight"
    for encoder, keys, normalize in (
        ("hubert_base", (), False),
        ("hubert_large_ll60k", (), True),
        ("hubert_xlarge_ll60k", (layout,), True),
    ):
        conf = mapped(encoder=encoder, keys=(BLOCK, QUANTIZER, *keys))["speech_encoder_conf"]
        assert conf["normalize_waveform"] is normalize
