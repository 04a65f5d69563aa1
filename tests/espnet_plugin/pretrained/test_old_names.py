"""Weights that were saved before the keyword branch was a module."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from espnet_plugin.model.factory import build_speechclip
from espnet_plugin.model.model import SpeechCLIPModel
from espnet_plugin.pretrained.storage import load_speechclip, save_speechclip
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from tests.tiny import tiny_hybrid_plus_config

# As version 0.1.0 saved them, of a model with every part: old name, today's name.
NAMES = {
    "layer_weighting.weights": "layer_weighting.weights",
    "parallel_query": "parallel_query",
    "parallel_projection.0.weight": "parallel_projection.0.weight",
    "key_offsets": "keyword_branch.key_offsets",
    "keyword_extractor.queries": "keyword_branch.extractor.queries",
    "keyword_extractor.cif.conv.0.weight": "keyword_branch.extractor.cif.conv.0.weight",
    "keyword_projection.0.bias": "keyword_branch.projection.0.bias",
    "keyword_norm.norm.running_mean": "keyword_branch.norm.norm.running_mean",
    "quantizer.temperature": "keyword_branch.quantizer.temperature",
    "blank.weight": "keyword_branch.blank.weight",
}
PARTS = {"key_offsets", "extractor", "projection", "norm", "quantizer", "blank"}
OLD = ("keyword_extractor", "keyword_projection", "keyword_norm")


@pytest.fixture
def config(tmp_path: Path) -> dict[str, object]:
    blanks = {"parallel": True, "blank": True, "trained_keys": True}
    return tiny_hybrid_plus_config(tmp_path) | {
        "quantizer_conf": {"hard": False, "temperature": "learned"},
        "model_conf": blanks,
    }


def old_name(name: str) -> str:
    """The name in version 0.1.0, by the rule of that time: no branch, parts beside the others."""
    branch, _, part = name.partition("keyword_branch.")
    if not part:
        return name
    beside = part.split(".")[0] in ("extractor", "projection", "norm")
    return f"{branch}keyword_{part}" if beside else branch + part


def model_of(config: dict[str, object], seed: int) -> SpeechCLIPModel:
    torch.manual_seed(seed)
    return build_speechclip(config)


def test_every_part_of_the_branch_has_an_old_name(config) -> None:
    names = [name for name in model_of(config, 0).state_dict() if name.startswith("keyword_")]
    assert {name.split(".")[1] for name in names} == PARTS
    assert {old: old_name(new) for old, new in NAMES.items()} == {old: old for old in NAMES}


def test_trainings_load_old_checkpoints_strictly(config) -> None:
    old, new = (SpeechCLIPTask.build_model(Namespace(**config)) for _ in range(2))
    weights = {old_name(name): value for name, value in old.state_dict().items()}
    assert weights.keys() != old.state_dict().keys()
    new.load_state_dict(weights)
    for name, value in new.state_dict().items():
        assert torch.equal(value, old.state_dict()[name]), name


def test_exported_models_of_earlier_versions_open(config, tmp_path: Path) -> None:
    model = model_of(config, 0).eval()
    save_speechclip(model, config, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    weights = {old_name(name): value for name, value in load_file(file).items()}
    assert any(name.startswith(OLD) for name in weights)
    save_file(weights, file)
    speech = torch.randn(2, 6000)
    ours = load_speechclip(tmp_path / "model").encode_speech(speech)
    assert torch.equal(ours.cascaded, model.encode_speech(speech).cascaded)
