from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from espnet_plugin.model.factory import build_speechclip
from espnet_plugin.model.model import SpeechCLIPModel
from espnet_plugin.pretrained import load_speechclip, save_speechclip
from espnet_plugin.pretrained.trust import UntrustedModelError
from tests.tiny import tiny_clip_config, tiny_clip_weights, tiny_hubert_dir

SPEECH = torch.randn(2, 6000, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([6000, 4100])


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("teachers")
    tiny_hubert_dir(directory, name="hubert")
    tiny_clip_weights(directory, tiny_clip_config(directory))
    return directory


@pytest.fixture
def config(teachers: Path) -> dict[str, Any]:
    return {
        "speech_encoder": "huggingface",
        "speech_encoder_conf": {
            "model": str(teachers / "hubert"),
            "normalize_waveform": True,
        },
        "layer_weighting_conf": {"normalize": True},
        "clip_conf": {
            "model": str(teachers / "tiny_clip.json"),
            "pretrained": str(teachers / "tiny_clip.safetensors"),
        },
        "keyword_vocabulary": {
            "ids": [0, 320, 49406, 49407, *range(500, 530)],
            "forbidden": [0, 49406],
        },
        "keyword_extractor": "cif",
        "keyword_extractor_conf": {"frames_per_keyword": 4, "dropout": 0.0},
        "attention_conf": {"num_heads": 2, "dropout": 0.0},
        "model_conf": {"parallel": True, "compatibility": {"convolve_padding": True}},
        "optim": "adam",  # what does not concern the model stays out
    }


@pytest.fixture
def model(config: dict[str, Any]) -> SpeechCLIPModel:
    torch.manual_seed(1)
    return build_speechclip(config).eval()


def assert_same(ours: SpeechCLIPModel, theirs: SpeechCLIPModel) -> None:
    assert not ours.training
    mine, other = (model.encode_speech(SPEECH, LENGTHS) for model in (ours, theirs))
    assert torch.equal(mine.parallel, other.parallel)
    assert torch.equal(mine.keywords.quantized.rows, other.keywords.quantized.rows)
    assert ours.keyword_branch.vocabulary == theirs.keyword_branch.vocabulary
    assert ours.compatibility == theirs.compatibility
    if ours.clip.text_tower is not None:
        assert torch.equal(mine.cascaded, other.cascaded)


def test_importing_the_packages_imports_no_torch() -> None:
    code = (
        "import sys, espnet_plugin.model, espnet_plugin.pretrained; "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_round_trip_without_the_originals(
    model: SpeechCLIPModel, config: dict[str, Any], teachers: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "teachers"
    shutil.copytree(teachers, moved)
    config["speech_encoder_conf"]["model"] = str(moved / "hubert")
    config["clip_conf"] = {
        "model": str(moved / "tiny_clip.json"),
        "pretrained": str(moved / "tiny_clip.safetensors"),
    }
    save_speechclip(model, config, tmp_path / "here", log_scale=torch.tensor(2.5))
    files = [path for path in (tmp_path / "here").rglob("*") if path.is_file()]
    assert len({path.stat().st_mode for path in files}) == 1  # safetensors 0.8 writes 0600
    shutil.rmtree(moved)
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert_same(load_speechclip(tmp_path / "there"), model)
    assert load_file(tmp_path / "there" / "model.safetensors")["loss.log_scale"].item() == 2.5
    stored = yaml.safe_load((tmp_path / "there" / "config.yaml").read_text())
    assert "optim" not in stored
    assert stored["speech_encoder_conf"]["model"] == "speech_encoder"
    trained = load_file(tmp_path / "there" / "model.safetensors")
    assert not any(key.startswith(model.frozen_prefixes) for key in trained)
    assert torch.equal(trained["token_table"], model.keyword_branch.table)
    images = torch.randn(1, 3, 32, 32)
    theirs = model.clip.encode_images(images)
    assert torch.equal(load_speechclip(tmp_path / "there").clip.encode_images(images), theirs)


def test_without_towers(model: SpeechCLIPModel, config: dict[str, Any], tmp_path: Path) -> None:
    save_speechclip(model, config, tmp_path / "out")
    (tmp_path / "out" / "clip" / "tiny_clip.safetensors").unlink()  # nobody needs it then
    bare = load_speechclip(tmp_path / "out", image_tower=False, text_tower=False)
    assert bare.clip.text_tower is None and bare.clip.image_tower is None
    assert bare.encode_speech(SPEECH, LENGTHS).cascaded is None
    assert_same(bare, model)
    assert bare.clip.token_text(320) == "a</w>"


@pytest.mark.parametrize("extractor", ["none", None])  # None: as ESPnet writes it into config.yaml
def test_parallel_model(config: dict[str, Any], extractor: str | None, tmp_path: Path) -> None:
    config |= {"keyword_extractor": extractor, "keyword_vocabulary": None}
    model = build_speechclip(config).eval()
    save_speechclip(model, config, tmp_path / "out")
    loaded = load_speechclip(tmp_path / "out", image_tower=False, text_tower=False)
    ours, theirs = loaded.encode_speech(SPEECH), model.encode_speech(SPEECH)
    assert torch.equal(ours.parallel, theirs.parallel)
    assert loaded.keyword_branch is None


def experiment(model: SpeechCLIPModel, config: dict[str, Any], directory: Path) -> Path:
    """What ESPnet leaves of a training."""
    directory.mkdir(parents=True)
    config = {
        **config,
        "best_model_criterion": [["valid", "recall", "max"], ["valid", "loss", "min"]],
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    state = {
        f"speechclip.{key}": value
        for key, value in model.state_dict().items()
        if not key.startswith(model.frozen_prefixes)
    }
    state |= {"loss.log_scale": torch.tensor(2.0), "num_updates": torch.tensor(3.0)}
    torch.save(
        {key: torch.zeros_like(value) for key, value in state.items()}, directory / "latest.pth"
    )
    torch.save(state, directory / "valid.loss.ave.pth")
    torch.save({"model": state, "reporter": {}}, directory / "checkpoint.pth")
    return directory


def test_experiments_and_their_checkpoints(
    model: SpeechCLIPModel, config: dict[str, Any], tmp_path: Path
) -> None:
    directory = experiment(model, config, tmp_path / "exp")
    assert_same(load_speechclip(directory, image_tower=False), model)
    assert_same(load_speechclip(directory / "checkpoint.pth", image_tower=False), model)
    bare = load_speechclip(directory, image_tower=False, text_tower=False)
    assert_same(bare, model)
    latest = load_speechclip(directory / "latest.pth", image_tower=False)
    assert latest.layer_weighting.weights.abs().sum() == 0
    (directory / "valid.loss.ave.pth").unlink()
    again = load_speechclip(directory, image_tower=False)
    assert again.attention.norm.weight.abs().sum() == 0


def test_a_zip_file_says_how_to_make_a_folder_of_it(
    model: SpeechCLIPModel, config: dict[str, Any], teachers: Path, tmp_path: Path
) -> None:
    """As packs were, of this project and of ESPnet: a checkpoint, and the files that it needs."""
    config["speech_encoder_conf"]["model"] = "hubert"
    config["clip_conf"] = {"model": "tiny_clip.json", "pretrained": "tiny_clip.safetensors"}
    directory = experiment(model, config, tmp_path / "exp")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr("meta.yaml", "{files: {}, yaml_files: {}}")
        archive.write(directory / "config.yaml", "config.yaml")
        archive.write(directory / "valid.loss.ave.pth", "model.pth")
        for file in (teachers / "hubert").iterdir():
            archive.write(file, f"hubert/{file.name}")
        for name in config["clip_conf"].values():
            archive.write(teachers / name, name)
    with pytest.raises(ValueError, match="a model is a folder. Make one.*: unzip .* -d") as caught:
        load_speechclip(tmp_path / "packed.zip")
    subprocess.run(str(caught.value).split(": ")[-1].split(), check=True, capture_output=True)
    assert_same(load_speechclip(tmp_path / "packed", image_tower=False), model)
    config["keyword_vocabulary"] = str(directory / "diary.txt")  # it holds all of the model
    (directory / "diary.txt").touch()
    (tmp_path / "packed" / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UntrustedModelError, match="diary.txt, which is not a part of it"):
        load_speechclip(tmp_path / "packed")


def test_sources_that_hold_no_model(
    model: SpeechCLIPModel, config: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="absent: no such file.*expected an exported model"):
        load_speechclip(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: holds no model.*found nothing"):
        load_speechclip(tmp_path / "empty")
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(ValueError, match="x.txt: holds no model"):
        load_speechclip(tmp_path / "x.txt")
    torch.save({"state_dict": {}}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="speechclip convert .*x.ckpt OUT_DIR"):
        load_speechclip(tmp_path / "x.ckpt")
    torch.save({"encoder.weight": torch.ones(1)}, tmp_path / "x.pth")
    with pytest.raises(FileNotFoundError, match="config.yaml is not beside it"):
        load_speechclip(tmp_path / "x.pth")
    directory = experiment(model, config, tmp_path / "exp")
    shutil.copy(tmp_path / "x.pth", directory / "other.pth")
    with pytest.raises(ValueError, match="not a SpeechCLIP checkpoint"):
        load_speechclip(directory / "other.pth")


def test_exports_that_are_damaged(
    model: SpeechCLIPModel, config: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    save_speechclip(model, config, out)
    file = out / "model.safetensors"
    whole = file.read_bytes()
    weights = {key: value.clone() for key, value in load_file(file).items()}

    file.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="model.safetensors: not a safetensors file, or truncated"):
        load_speechclip(out)
    missing = {key: value for key, value in weights.items() if key != "parallel_query"}
    save_file(missing, file)
    with pytest.raises(ValueError, match="do not fit its config.yaml: parallel_query is missing"):
        load_speechclip(out)
    save_file({**weights, "more": torch.ones(1)}, file)
    with pytest.raises(ValueError, match="more is not known"):
        load_speechclip(out)
    save_file({**weights, "parallel_query": torch.ones(1, 7)}, file)
    with pytest.raises(ValueError, match="do not fit.*parallel_query"):
        load_speechclip(out)
    file.write_bytes(whole)
    text = (out / "config.yaml").read_text()
    (out / "config.yaml").write_text(text.replace("format_version: 1", "format_version: 9"))
    with pytest.raises(ValueError, match="format_version 9"):
        load_speechclip(out)
    (out / "config.yaml").write_text("[1, 2]")
    with pytest.raises(ValueError, match="expected a mapping of options, got list"):
        load_speechclip(out)
    (out / "config.yaml").write_text("{")
    with pytest.raises(ValueError, match="not a YAML file"):
        load_speechclip(out)
    with pytest.raises(FileExistsError, match=r"with force=True \(--force\)"):
        save_speechclip(model, config, out)
