"""HuBERT in plain PyTorch against transformers', bit by bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from espnet_plugin.teachers.backends import huggingface_loading
from espnet_plugin.teachers.backends.hubert import Hubert, HubertConfig, read_hubert
from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
from tests.tiny import tiny_hubert_dir

LENGTHS = (4000, 6123, 2200)


def batch() -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    generator = torch.Generator().manual_seed(1)
    speech = torch.zeros(len(LENGTHS), max(LENGTHS))
    for row, length in enumerate(LENGTHS):
        speech[row, :length] = 0.1 * torch.randn(length, generator=generator)
    return speech, torch.tensor(LENGTHS), list(LENGTHS)


@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_equals_transformers_bit_by_bit(
    stable: bool, training: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tiny_hubert_dir(tmp_path, stable=stable))
    ours = HuggingFaceBackend(model=path, dropout=0.3).train(training)
    monkeypatch.setattr(huggingface_loading, "read_hubert", lambda *_, **__: None)
    theirs = HuggingFaceBackend(model=path, dropout=0.3).train(training)
    assert isinstance(ours.model, Hubert)
    assert isinstance(theirs.model, transformers.HubertModel)
    states = []
    for backend in (ours, theirs):
        torch.manual_seed(0)  # the dropouts' numbers
        states.append(backend(*batch()))
        states[-1].square().mean().backward()
    assert torch.equal(*states)
    gradients = dict(theirs.model.named_parameters())
    gradients.pop("masked_spec_embed", None)
    assert dict(ours.model.named_parameters()).keys() == gradients.keys()
    for name, parameter in ours.model.named_parameters():
        if parameter.grad is not None:
            assert torch.equal(parameter.grad, gradients[name].grad), name


@pytest.mark.parametrize("stable", [False, True])
def test_a_seed_starts_what_is_built_next_alike(
    stable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tiny_hubert_dir(tmp_path, stable=stable))
    torch.manual_seed(0)
    HuggingFaceBackend(model=path)
    next_weights = torch.randn(4)
    monkeypatch.setattr(huggingface_loading, "read_hubert", lambda *_, **__: None)
    torch.manual_seed(0)
    HuggingFaceBackend(model=path)
    assert torch.equal(next_weights, torch.randn(4))


def test_defaults_are_transformers() -> None:
    theirs = transformers.HubertConfig()
    for name, value in vars(HubertConfig()).items():
        other = getattr(theirs, name)
        assert (tuple(other) if isinstance(other, list) else other) == value, name


@pytest.mark.parametrize(
    "options",
    [
        {"model_type": "wavlm"},
        {"hidden_act": "relu"},
        {"feat_extract_activation": "relu"},
        {"feat_proj_layer_norm": False},
        {"layer_norm_eps": 1e-6},
        {"conv_pos_batch_norm": True},
        {"adapter_attn_dim": 8},
        {"quantization_config": {"bits": 4}},
    ],
)
def test_what_it_does_not_build_is_left_to_transformers(
    options: dict[str, object], tmp_path: Path
) -> None:
    path = tiny_hubert_dir(tmp_path)
    assert read_hubert(path) is not None
    config = path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | options))
    assert read_hubert(path) is None


def test_weights_of_a_model_with_a_head_under_older_names_in_half_precision(tmp_path: Path) -> None:
    path = tiny_hubert_dir(tmp_path)
    expected = HuggingFaceBackend(model=str(path))(*batch())
    weights = load_file(path / "model.safetensors")
    renamed = {"lm_head.weight": torch.ones(3, 3)}
    for key, value in weights.items():
        old = key.replace("parametrizations.weight.original0", "weight_g")
        renamed["hubert." + old.replace("parametrizations.weight.original1", "weight_v")] = value
    save_file(renamed, path / "model.safetensors")
    assert torch.equal(HuggingFaceBackend(model=str(path))(*batch()), expected)
    save_file({key: value.half() for key, value in weights.items()}, path / "model.safetensors")
    model = read_hubert(path)
    assert model is not None
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = tiny_hubert_dir(tmp_path)
    weights = load_file(path / "model.safetensors")
    weights.pop("encoder.layer_norm.bias")
    weights["feature_projection.projection.bias"] = torch.zeros(5)
    save_file(weights, path / "model.safetensors")
    with pytest.raises(ValueError, match=r"hubertmodel_base: the weights lack") as error:
        read_hubert(path)
    assert "encoder.layer_norm.bias is missing" in str(error.value)
    assert "feature_projection.projection.bias is (5,) instead of (24,)" in str(error.value)


def test_it_imports_neither_transformers_nor_sympy(tmp_path: Path) -> None:
    path = tiny_hubert_dir(tmp_path)
    code = f"""
import sys
from espnet_plugin.teachers.backends.hubert import read_hubert
read_hubert({str(path)!r})
print([name for name in ("transformers", "sympy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
