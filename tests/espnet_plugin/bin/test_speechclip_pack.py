from __future__ import annotations

import shutil
import zipfile
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


def test_packed_model_loads_elsewhere_without_the_originals(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = np.random.RandomState(1).randn(6000).astype(np.float32) * 0.1
    expected = SpeechCLIPInference(trained / "config.yaml", trained / "latest.pth")(speech)
    # an experiment whose local files can be taken away
    config = yaml.safe_load((trained / "config.yaml").read_text())
    here = tmp_path / "here"
    shutil.copytree(config["speech_encoder_conf"]["model"], here / "hubert")
    for option in ("model", "pretrained"):
        shutil.copy(config["clip_conf"][option], here)
        config["clip_conf"][option] = str(here / Path(config["clip_conf"][option]).name)
    config["speech_encoder_conf"]["model"] = str(here / "hubert")
    (here / "config.yaml").write_text(yaml.safe_dump(config))
    (here / "RESULTS.md").write_text("# RESULTS\n")
    speechclip_pack.main(
        [
            *("--train_config", str(here / "config.yaml"), "--outpath", str(here / "packed.zip")),
            *("--model_file", str(trained / "latest.pth")),
            *("--option", str(here / "RESULTS.md")),
            *("--option", str(here / "hubert" / "config.json")),  # packed anyway
        ]
    )
    there = tmp_path / "there"
    there.mkdir()
    shutil.move(here / "packed.zip", there)
    shutil.rmtree(here)
    monkeypatch.chdir(there)
    names = zipfile.ZipFile("packed.zip").namelist()
    assert len(names) == len(set(names))
    assert {"meta.yaml", "config.yaml", "model.safetensors", "RESULTS.md"} < set(names)
    result = SpeechCLIPInference.from_pretrained("packed.zip")(speech)
    assert np.allclose(result.parallel, expected.parallel, atol=1e-6)
    assert np.allclose(result.cascaded, expected.cascaded, atol=1e-6)
    # as ESPnet's own classes load a model
    files = ModelDownloader(tmp_path / "cache").download_and_unpack("packed.zip")
    unpacked = SpeechCLIPInference(**files)
    assert np.allclose(unpacked(speech).parallel, expected.parallel, atol=1e-6)


def test_an_unpacked_model_is_a_model_and_keeps_the_loss_scale(
    trained: Path, tmp_path: Path
) -> None:
    options = ["--train_config", str(trained / "config.yaml")]
    options += ["--model_file", str(trained / "latest.pth"), "--outpath", str(tmp_path / "x.zip")]
    speechclip_pack.main(options)
    shutil.unpack_archive(tmp_path / "x.zip", tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    checkpoint = torch.load(trained / "latest.pth", weights_only=True)
    assert torch.equal(weights["loss.log_scale"], checkpoint["loss.log_scale"])
    assert not list(tmp_path.rglob("*.pth"))
    copy = tmp_path / "copy"
    for model in (tmp_path / "model", tmp_path / "model" / "model.safetensors"):
        assert model_fingerprint(model) == model_fingerprint(trained)
        SpeechCLIP.from_pretrained(model, device="cpu").save_pretrained(copy, force=True)
    again = load_file(copy / "model.safetensors")
    assert again.keys() - weights.keys() == {"token_table"}
    assert all(torch.equal(value, again[name]) for name, value in weights.items())


def test_packing_stores_what_is_best_on_dev(trained: Path, tmp_path: Path) -> None:
    """A doubtful keyword is wrong, a sure one is not; only the keyword branch finds the images."""
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
    packed = tmp_path / "packed.zip"
    config, model = str(trained / "config.yaml"), str(trained / "latest.pth")
    arguments = ["--train_config", config, "--model_file", model, "--outpath", str(packed)]
    speechclip_pack.main([*arguments, "--choices", str(dev.parent / "choices.json")])
    loaded = SpeechCLIP.from_pretrained(packed, device="cpu")
    assert (loaded.min_score, loaded.fusion_weight, loaded.branch) == (0.22, 0.45, "both")
    assert SpeechCLIPInference.from_pretrained(packed).fusion_weight == 0.45
    with zipfile.ZipFile(packed) as archive:
        assert "choices.json" in archive.namelist()
        assert b"min_score" not in archive.read("config.yaml")
    before = (dev.parent / "choices.json").read_bytes()
    write_results(dev.parent, test_set="dev", figures=False, report=False)
    assert (dev.parent / "choices.json").read_bytes() == before  # there was nothing to choose on
    loaded = SpeechCLIP.from_pretrained(trained, device="cpu")
    assert (loaded.min_score, loaded.fusion_weight, loaded.branch) == (-1.0, None, None)


def test_packing_leaves_the_files_that_it_packs_as_they_are(trained: Path, tmp_path: Path) -> None:
    notes = [tmp_path / folder / "NOTES.md" for folder in "ab"]
    for path in notes:
        path.parent.mkdir()
        path.write_text(path.parent.name)
    config, model = trained / "config.yaml", trained / "latest.pth"
    before = config.read_bytes()
    arguments = ["--train_config", str(config), "--model_file", str(model)]
    arguments += ["--outpath", str(tmp_path / "packed.zip")]
    speechclip_pack.main([*arguments, "--option", str(config), "--option", str(notes[0])])
    names = zipfile.ZipFile(tmp_path / "packed.zip").namelist()
    assert config.read_bytes() == before and len(names) == len(set(names))
    with pytest.raises(SystemExit, match="the package has another NOTES.md"):
        speechclip_pack.main([*arguments, *(x for path in notes for x in ("--option", str(path)))])
    assert [path.read_text() for path in notes] == ["a", "b"]


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
    arguments = ["--train_config", str(experiment / "config.yaml")]
    arguments += ["--model_file", str(experiment / "latest.pth")]
    speechclip_pack.main([*arguments, "--outpath", str(tmp_path / "x.zip")])
    names = zipfile.ZipFile(tmp_path / "x.zip").namelist()
    assert "speech_encoder/config.json" in names
    shutil.rmtree(tmp_path / "downloads")
    with pytest.raises(SystemExit, match="there is no downloads/mini/hubert here"):
        speechclip_pack.main([*arguments, "--outpath", str(tmp_path / "y.zip")])
    assert not (tmp_path / "y.zip").exists()


def test_a_damaged_checkpoint_is_not_packed(trained: Path, tmp_path: Path) -> None:
    stump = tmp_path / "1epoch.pth"
    stump.write_bytes((trained / "1epoch.pth").read_bytes()[:1000])
    command = ["--train_config", str(trained / "config.yaml"), "--model_file", str(stump)]
    with pytest.raises(SystemExit, match="1epoch.pth: cannot be read as weights"):
        speechclip_pack.main([*command, "--outpath", str(tmp_path / "x.zip")])
    assert not (tmp_path / "x.zip").exists()


def test_missing_files_are_named(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="absent.pth"):
        speechclip_pack.main(
            [
                *("--train_config", str(trained / "config.yaml")),
                *("--model_file", "absent.pth", "--outpath", str(tmp_path / "x.zip")),
            ]
        )
