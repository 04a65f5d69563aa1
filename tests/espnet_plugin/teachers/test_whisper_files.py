"""Of a Whisper, only the encoder is packed and counted, however transformers wrote its folder."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from espnet_plugin.teachers.backends.huggingface_loading import load_encoder
from espnet_plugin.teachers.whisper_files import copy_encoder, encoder_weights
from tests.pages import PROJECT
from tests.tiny import tiny_whisper_dir

REAL = PROJECT / "egs2" / "speechclip_plus" / "models" / "digits" / "speech_encoder"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper_dir(tmp_path_factory.mktemp("teacher"))


def copied(source: Path, target: Path) -> Path:
    target.mkdir()
    copy_encoder(source, target)
    return target


@pytest.mark.parametrize("precision", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("form", ["whole", "with a head", "encoder", "shards", "pickle"])
def test_every_form_gives_the_same_encoder(
    whole: Path, tmp_path: Path, form: str, precision: torch.dtype
) -> None:
    folder = tmp_path / "source"
    model = transformers.WhisperModel.from_pretrained(whole, dtype=precision)
    if form == "with a head":
        config = transformers.WhisperConfig.from_pretrained(whole)
        with_head = transformers.WhisperForConditionalGeneration(config).to(precision)
        with_head.model.load_state_dict(model.state_dict())
        with_head.save_pretrained(folder)
    elif form == "encoder":
        model.encoder.save_pretrained(folder)
    else:
        model.save_pretrained(folder, max_shard_size="20KB" if form == "shards" else "1GB")
    assert len(list(folder.glob("*.safetensors"))) == 1 or form == "shards"
    if form == "pickle":
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    for name in ("LICENSE", "README.md", "vocab.json", "tf_model.h5"):
        (folder / name).write_text(name)
    small = copied(folder, tmp_path / "packed")
    assert sorted(path.name for path in small.iterdir()) == [
        *("LICENSE", "config.json", "model.safetensors")
    ]
    stored = load_file(small / "model.safetensors")
    assert {weight.dtype for weight in stored.values()} == {precision}
    assert not any("decoder" in name for name in stored)
    expected = model.encoder.state_dict()
    for source in (folder, small):
        loaded = load_encoder(str(source), word="whisper").state_dict()
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[name], expected[name].float()) for name in expected)


def test_the_decoder_that_is_not_used_is_not_listed(
    whole: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    load_encoder(str(whole), word="whisper")
    assert "decoder" not in caplog.text


def test_the_encoder_in_the_repository_stays_as_it_is(tmp_path: Path) -> None:
    again = copied(REAL, tmp_path / "again")
    assert {path.name for path in REAL.iterdir()} - {path.name for path in again.iterdir()} == {
        "README.md"
    }
    for path in again.iterdir():
        assert path.read_bytes() == (REAL / path.name).read_bytes()
    weights = encoder_weights(REAL)
    assert {weight.dtype for weight in weights.values()} == {torch.float16}
    assert sum(weight.numel() for weight in weights.values()) == 8_208_384


def test_a_folder_without_weights_has_a_configuration(whole: Path, tmp_path: Path) -> None:
    """As a dry run with random weights needs."""
    (tmp_path / "source").mkdir()
    shutil.copy(whole / "config.json", tmp_path / "source")
    packed = copied(tmp_path / "source", tmp_path / "packed")
    assert [path.name for path in packed.iterdir()] == ["config.json"]


def test_what_is_wrong_is_said_with_the_file(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text("[]")
    with pytest.raises(ValueError, match=r"index.json: holds no weight_map"):
        encoder_weights(tmp_path)
    outside = tmp_path.parent / "shard.safetensors"
    outside.touch()
    index.write_text(json.dumps({"weight_map": {"encoder.x": "../shard.safetensors"}}))
    with pytest.raises(FileNotFoundError, match=f"{tmp_path.name}/shard"):
        encoder_weights(tmp_path)
    index.unlink()
    torch.save([1.0], tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"model.bin: holds no weights by name, but a list"):
        encoder_weights(tmp_path)
