from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from espnet_model_zoo.downloader import ModelDownloader
from safetensors.torch import load_file

from espnet_plugin.bin import speechclip_pack
from espnet_plugin.data.keyword_file import Keyword, UtteranceKeywords, write_keywords
from espnet_plugin.evaluation.report.write import write_results
from espnet_plugin.inference.speechclip import SpeechCLIP
from espnet_plugin.inference.speechclip_inference import SpeechCLIPInference
from espnet_plugin.pretrained.fingerprint import model_fingerprint


def pack(experiment: Path, outpath: Path, *options: str, model: str = "latest.pth") -> Path:
    speechclip_pack.main(
        [
            *("--train_config", str(experiment / "config.yaml"), "--outpath", str(outpath)),
            *("--model_file", str(experiment / model), *options),
        ]
    )
    return outpath


def test_a_packed_model_loads_elsewhere_without_the_originals(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = np.random.RandomState(1).randn(6000).astype(np.float32) * 0.1
    expected = SpeechCLIPInference(trained / "config.yaml", trained / "latest.pth")(speech)
    # an experiment whose local files can be taken away
    config = yaml.safe_load((trained / "config.yaml").read_text())
    here = tmp_path / "here"
    shutil.copytree(config["speech_encoder_conf"]["model"], here / "hubert")
    shutil.copy(trained / "latest.pth", here)
    for option in ("model", "pretrained"):
        shutil.copy(config["clip_conf"][option], here)
        config["clip_conf"][option] = str(here / Path(config["clip_conf"][option]).name)
    config["speech_encoder_conf"]["model"] = str(here / "hubert")
    (here / "config.yaml").write_text(yaml.safe_dump(config))
    (here / "RESULTS.md").write_text("# RESULTS\n\n| first |\n|---|\n| 70 |\n")
    packed = pack(here, tmp_path / "packed", "--option", str(here / "RESULTS.md"))
    shutil.rmtree(here)
    assert {path.name for path in packed.iterdir()} == {
        *("config.yaml", "model.safetensors", "meta.yaml", "README.md", "RESULTS.md"),
        *("clip", "speech_encoder", "made_from.json"),
    }
    assert "| 70 |" in (packed / "README.md").read_text()
    result = SpeechCLIPInference.from_pretrained(str(packed))(speech)
    assert np.allclose(result.parallel, expected.parallel, atol=1e-6)
    assert np.allclose(result.cascaded, expected.cascaded, atol=1e-6)
    # as ESPnet's own classes load a model from the hub
    monkeypatch.setattr("espnet_model_zoo.downloader.snapshot_download", lambda *_, **__: packed)
    files = ModelDownloader(tmp_path / "cache").download_and_unpack("owner/model")
    unpacked = SpeechCLIPInference(**files)
    assert np.allclose(unpacked(speech).parallel, expected.parallel, atol=1e-6)


def test_a_packed_model_keeps_the_loss_scale(trained: Path, tmp_path: Path) -> None:
    packed = pack(trained, tmp_path / "model")
    weights = load_file(packed / "model.safetensors")
    checkpoint = torch.load(trained / "latest.pth", weights_only=True)
    assert torch.equal(weights["loss.log_scale"], checkpoint["loss.log_scale"])
    copy = tmp_path / "copy"
    SpeechCLIP.from_pretrained(packed, device="cpu").save_pretrained(copy)
    again = load_file(copy / "model.safetensors")
    assert again.keys() - weights.keys() == {"token_table"}
    assert all(torch.equal(value, again[name]) for name, value in weights.items())


def test_only_an_older_model_is_replaced(trained: Path, tmp_path: Path) -> None:
    packed = pack(trained, tmp_path / "model")
    (packed / "left.txt").touch()
    before = model_fingerprint(packed)
    assert model_fingerprint(pack(trained, packed)) == before and not (packed / "left.txt").exists()
    experiment = shutil.copytree(trained, tmp_path / "exp")
    with pytest.raises(SystemExit, match="exp exists and is not empty"):
        pack(experiment, experiment)
    with pytest.raises(SystemExit, match="x.zip: a model is a folder; name it without .zip"):
        pack(trained, tmp_path / "x.zip")


def test_packing_stores_what_is_best_on_dev(trained: Path, tmp_path: Path) -> None:
    """A doubtful keyword is wrong, a sure one is not; only the cascaded branch finds the images."""
    red, cat = 736, 2368
    keywords = (
        Keyword(red, "red</w>", (red,), score=0.31),
        Keyword(cat, "cat</w>", (cat,), score=0.2),
    )
    dev = tmp_path / "inference" / "dev"
    dev.mkdir(parents=True)
    names = [f"u{number}" for number in range(4)]
    write_keywords(
        dev / "keywords.jsonl", [UtteranceKeywords(name, "red", (red,), keywords) for name in names]
    )
    for file in ("utterances.txt", "images.txt"):
        (dev / file).write_text("\n".join(names))
    (dev / "utt2image").write_text("\n".join(f"{name} {name}" for name in names))
    for file, sign in {"image": 1, "speech_cascaded": 1, "speech_parallel": -1}.items():
        np.save(dev / f"{file}.npy", sign * np.eye(4, dtype=np.float32))
    write_results(dev.parent, test_set="dev", dev_set="dev", figures=False, report=False)
    choices = dev.parent / "choices.json"
    packed = pack(trained, tmp_path / "packed", "--choices", str(choices))
    loaded = SpeechCLIP.from_pretrained(packed, device="cpu")
    assert (loaded.min_score, loaded.fusion_weight, loaded.branch) == (0.22, 0.45, "both")
    assert SpeechCLIPInference.from_pretrained(packed).fusion_weight == 0.45
    assert "min_score" not in (packed / "config.yaml").read_text()
    before = choices.read_bytes()
    write_results(dev.parent, test_set="dev", figures=False, report=False)
    assert choices.read_bytes() == before  # there was nothing to choose on
    loaded = SpeechCLIP.from_pretrained(trained, device="cpu")
    assert (loaded.min_score, loaded.fusion_weight, loaded.branch) == (-1.0, None, None)


def test_two_files_of_one_name_are_refused(trained: Path, tmp_path: Path) -> None:
    notes = [tmp_path / folder / "NOTES.md" for folder in "ab"]
    for path in notes:
        path.parent.mkdir()
        path.write_text(path.parent.name)
    options = [word for path in notes for word in ("--option", str(path))]
    assert (pack(trained, tmp_path / "model", *options[:2]) / "NOTES.md").read_text() == "a"
    with pytest.raises(SystemExit, match="the model has another NOTES.md"):
        pack(trained, tmp_path / "model", *options)
    assert (tmp_path / "model" / "NOTES.md").exists()  # as it was
    (tmp_path / "README.md").touch()
    with pytest.raises(SystemExit, match="the model has another README.md"):
        pack(trained, tmp_path / "model", "--option", str(tmp_path / "README.md"))


def recipe_with_relative_paths(trained: Path, recipe: Path) -> Path:
    """exp/x of a recipe's folder whose configuration names files from that folder."""
    experiment = recipe / "exp" / "x"
    experiment.mkdir(parents=True)
    config = yaml.safe_load((trained / "config.yaml").read_text())
    (recipe / "downloads" / "mini").mkdir(parents=True)
    shutil.copytree(config["speech_encoder_conf"]["model"], recipe / "downloads/mini/hubert")
    config["speech_encoder_conf"]["model"] = "downloads/mini/hubert"
    (experiment / "config.yaml").write_text(yaml.safe_dump(config))
    shutil.copy(trained / "latest.pth", experiment / "latest.pth")
    return experiment


def test_relative_paths_start_at_the_recipe(trained: Path, tmp_path: Path) -> None:
    experiment = recipe_with_relative_paths(trained, tmp_path)
    packed = pack(experiment, tmp_path / "x")
    assert (packed / "speech_encoder" / "config.json").is_file()
    shutil.rmtree(tmp_path / "downloads")
    with pytest.raises(SystemExit, match="there is no downloads/mini/hubert here"):
        pack(experiment, tmp_path / "y")
    assert not (tmp_path / "y").exists()


def test_a_damaged_checkpoint_is_not_packed(trained: Path, tmp_path: Path) -> None:
    shutil.copy(trained / "config.yaml", tmp_path)
    (tmp_path / "1epoch.pth").write_bytes((trained / "1epoch.pth").read_bytes()[:1000])
    with pytest.raises(SystemExit, match="1epoch.pth: cannot be read as weights"):
        pack(tmp_path, tmp_path / "x", model="1epoch.pth")
    assert not (tmp_path / "x").exists()


def test_missing_files_are_named(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="absent.pth"):
        pack(trained, tmp_path / "x", model="absent.pth")
