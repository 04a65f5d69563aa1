"""A model's fingerprint is that of what its embeddings come from, whatever holds it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from espnet_plugin.pretrained.description import describe_model
from espnet_plugin.pretrained.fingerprint import model_fingerprint
from espnet_plugin.pretrained.storage_format import CONFIG_FILE, TRAINED_FILE
from espnet_plugin.pretrained.stored_model import opened


def test_the_fingerprint_is_of_the_weights(exported: Path, tmp_path: Path) -> None:
    expected = model_fingerprint(exported)
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", exported)
    assert model_fingerprint(archive) == expected

    for file in (
        TRAINED_FILE,
        next((exported / "clip").glob("*.safetensors")).relative_to(exported),
    ):
        changed = tmp_path / "changed" / Path(file).name
        shutil.copytree(exported, changed)
        weights = load_file(changed / file)
        name = next(name for name in weights if name.endswith("bias"))
        save_file({**weights, name: weights[name] + 1}, changed / file)
        assert model_fingerprint(changed) != expected


def test_it_is_computed_once_until_a_file_changes(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEECHCLIP_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model"
    shutil.copytree(exported, model)
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", exported))
    expected = model_fingerprint(model)
    assert model_fingerprint(archive) == expected
    read: list[Path] = []

    def opened_and_noted(path: Path, **options: bool) -> Any:
        read.append(path)
        return opened(path, **options)

    monkeypatch.setattr("espnet_plugin.pretrained.fingerprint.opened", opened_and_noted)
    assert model_fingerprint(model) == model_fingerprint(archive) == expected
    assert read == []

    clip = next((model / "clip").glob("*.safetensors"))
    for number, file in enumerate((model / TRAINED_FILE, clip, model / CONFIG_FILE, archive)):
        os.utime(file, (number, number))
        assert model_fingerprint(archive if file == archive else model) == expected
        assert len(read) == number + 1
    for record in (tmp_path / "cache" / "fingerprints").iterdir():
        record.write_text('{"files": []')
    assert model_fingerprint(model) == expected
    assert len(read) == 5


def test_a_cache_that_cannot_be_written_is_done_without(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPEECHCLIP_CACHE", str(tmp_path / "file"))
    assert model_fingerprint(exported) == describe_model(exported)["fingerprint"]
