"""A model's fingerprint is that of the files that decide its outputs, wherever they lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from espnet_plugin import SpeechCLIP
from espnet_plugin.pretrained.description import describe_model
from espnet_plugin.pretrained.fingerprint import (
    fingerprint_and_score,
    model_files,
    model_fingerprint,
)
from espnet_plugin.utils.hashing import content_hash


@pytest.fixture
def model(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEECHCLIP_CACHE", str(tmp_path / "cache"))
    return shutil.copytree(exported, tmp_path / "model")


def test_a_copy_and_a_saved_model_keep_it(exported: Path, model: Path) -> None:
    expected = model_fingerprint(exported)
    assert expected == model_fingerprint(model) == describe_model(model)["fingerprint"]
    assert expected == model_fingerprint(model / "model.safetensors")
    SpeechCLIP.from_pretrained(model, device="cpu").save_pretrained(model.parent / "saved")
    assert model_fingerprint(model.parent / "saved") == expected


@pytest.mark.parametrize(
    "file",
    [
        *("config.yaml", "model.safetensors", "choices.json"),
        *("speech_encoder/config.json", "speech_encoder/model.safetensors", "speech_encoder/new"),
        *("clip/tiny_clip.json", "clip/tiny_clip.safetensors"),
    ],
)
def test_each_file_counts_that_decides_an_output(model: Path, file: str) -> None:
    expected = model_fingerprint(model)
    with (model / file).open("a") as stream:
        stream.write("{}" if file == "choices.json" else "\n")
    assert model_fingerprint(model) != expected


def test_what_is_beside_them_does_not_count(model: Path) -> None:
    expected = fingerprint_and_score(model)
    (model / "examples").mkdir()
    for name in ("README.md", "RESULTS.md", "examples/a.wav", "meta.yaml", "made_from.json"):
        (model / name).write_text("{}")
    assert fingerprint_and_score(model) == expected == (model_fingerprint(model), -1.0)
    (model / "choices.json").write_text('{"min_score": 0.5}')
    assert fingerprint_and_score(model)[1] == 0.5


def test_an_experiment_counts_with_the_files_that_it_names(model: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((model / "config.yaml").read_text())
    (tmp_path / "words.tsv").write_text("a\t3\n")
    config["keyword_vocabulary"] = str(tmp_path / "words.tsv")
    config["speech_encoder_conf"]["model"] = str(model / "speech_encoder")
    config["clip_conf"] = {"model": "ViT-B-32", "pretrained": "openai"}  # public: no file
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "exp" / "latest.pth").touch()
    found = model_files(tmp_path / "exp").values()
    encoder = sorted(path.name for path in (model / "speech_encoder").iterdir())
    assert [Path(file).name for file in found] == [
        *("config.yaml", "latest.pth"), *encoder, "words.tsv",
    ]  # fmt: skip
    before = model_fingerprint(tmp_path / "exp")
    (tmp_path / "words.tsv").write_text("b\t3\n")
    assert model_fingerprint(tmp_path / "exp") != before


def test_a_big_file_is_read_once_until_it_changes(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("espnet_plugin.data.record._CACHED_BYTES", 0)
    read: list[str] = []

    def noted(path: Path) -> str:
        read.append(path.name)
        return content_hash(path)

    monkeypatch.setattr("espnet_plugin.data.record.content_hash", noted)
    expected = model_fingerprint(model)
    assert len(read) == len(model_files(model)) and model_fingerprint(model) == expected
    read.clear()
    (model / "model.safetensors").touch()
    assert model_fingerprint(model) == expected and read == ["model.safetensors"]
