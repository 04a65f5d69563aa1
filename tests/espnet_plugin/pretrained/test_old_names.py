"""Weights from before the cascaded branch was a module, and Whisper from before its true length."""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from espnet_plugin import SpeechCLIP
from espnet_plugin.model.factory import build_speechclip
from espnet_plugin.model.model import SpeechCLIPModel
from espnet_plugin.pretrained.storage import load_speechclip, save_speechclip
from espnet_plugin.pretrained.stored_model import read_config
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from tests.tiny import tiny_hybrid_plus_config, tiny_whisper_dir

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


def test_a_whisper_that_read_thirty_seconds_still_does(config, tmp_path: Path) -> None:
    encoder = {"model": str(tiny_whisper_dir(tmp_path, positions=1500))}
    of_today = config | {"speech_encoder": "whisper", "speech_encoder_conf": encoder}
    then = of_today | {"speech_encoder_conf": {**encoder, "context": 30.0}}
    model, speech = model_of(then, 0).eval(), torch.randn(1, 6000)
    save_speechclip(model, then, tmp_path / "older")
    shutil.copytree(tmp_path / "older", tmp_path / "newer")
    rows = {}
    for name, written in (("older", {"language_batches": "mixed"}), ("newer", {})):
        file = tmp_path / name / "config.yaml"
        stored = yaml.safe_load(file.read_text()) | written
        stored["speech_encoder_conf"].pop("context")
        file.write_text(yaml.safe_dump(stored))
        loaded = SpeechCLIP.from_pretrained(tmp_path / name, device="cpu")
        loaded.save_pretrained(tmp_path / f"{name}_saved")
        for source in (tmp_path / name, tmp_path / f"{name}_saved"):
            rows[source.name] = load_speechclip(source).encode_speech(speech).parallel
    expected = model.encode_speech(speech).parallel
    assert torch.equal(rows["older"], expected) and torch.equal(rows["older_saved"], expected)
    assert torch.equal(rows["newer"], rows["newer_saved"])
    assert (rows["newer"] - expected).abs().max() > 1e-4
    trained = SpeechCLIPTask.build_model(Namespace(**of_today, language_batches="mixed"))
    assert trained.speechclip.speech_encoder.backend.context == 1500


def test_the_whisper_in_the_repository_reads_its_own_length() -> None:
    digits = Path(__file__).parents[3] / "egs2" / "speechclip_plus" / "models" / "digits"
    config = read_config(digits / "config.yaml")
    assert config["speech_encoder"] == "whisper"
    assert config["speech_encoder_conf"] == {"model": "speech_encoder"}
