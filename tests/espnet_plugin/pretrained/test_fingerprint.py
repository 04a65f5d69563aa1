"""A model's fingerprint is that of what its embeddings come from, whatever holds it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from espnet_plugin import SpeechCLIP
from espnet_plugin.pretrained.choices import BRANCHES, Choices
from espnet_plugin.pretrained.description import describe_model
from espnet_plugin.pretrained.fingerprint import (
    fingerprint_and_score,
    fingerprint_of,
    model_fingerprint,
)
from espnet_plugin.pretrained.packing import pack_model
from espnet_plugin.pretrained.storage import open_model
from espnet_plugin.pretrained.stored_model import CONFIG_FILE, TOKEN_TABLE, TRAINED_FILE

NUMBERS = torch.sin(torch.arange(9000)).numpy()  # a recording of 0.6 s


@pytest.fixture
def experiment(exported: Path, tmp_path: Path) -> Path:
    """The exported model as an experiment of ESPnet holds it."""
    directory = tmp_path / "exp"
    directory.mkdir()
    config = yaml.safe_load((exported / CONFIG_FILE).read_text())
    config["keyword_vocabulary"] = config["keyword_vocabulary"]["ids"]
    for section, option in (
        ("speech_encoder_conf", "model"),
        ("clip_conf", "model"),
        ("clip_conf", "pretrained"),
    ):
        config[section][option] = str(exported / config[section][option])
    others = {"loss": "masked_contrastive", "batch_size": 4, "max_epoch": 3}
    (directory / CONFIG_FILE).write_text(yaml.safe_dump({**config, **others}))
    weights = load_file(exported / TRAINED_FILE)
    state = {f"speechclip.{name}": w for name, w in weights.items() if name != TOKEN_TABLE}
    torch.save(state, directory / "latest.pth")
    return directory


def test_all_forms_that_embed_alike_share_it(exported: Path, experiment: Path) -> None:
    expected = model_fingerprint(experiment)
    files = experiment / CONFIG_FILE, experiment / "latest.pth"
    model = SpeechCLIP.from_pretrained(experiment, device="cpu")
    model.save_pretrained(experiment.parent / "exported")
    rows = model.encode_speech(NUMBERS, branch="both")
    for name, chosen, same in (
        ("packed", {}, True),
        ("with_min_score", {"min_score": 0.5}, True),
        ("with_weight", {"fusion_weight": 0.9}, False),
        ("exported", None, True),
    ):
        form = experiment.parent / name
        if chosen is not None:
            (experiment.parent / "chosen.json").write_text(json.dumps(chosen))
            given = {"choices": experiment.parent / "chosen.json"}
            form = pack_model(*files, form.with_suffix(".zip"), **given)
        again = SpeechCLIP.from_pretrained(form, device="cpu").encode_speech(NUMBERS, branch="both")
        found, score = fingerprint_and_score(form)
        assert score == (chosen or {}).get("min_score", -1.0)
        assert (found == expected) == same == (abs(again - rows).max() < 1e-6)
    assert model_fingerprint(exported) == expected


@pytest.mark.parametrize(
    ("key", "value", "counts"),
    [
        ("speech_encoder_conf", {"normalize_waveform": True}, True),
        ("speech_encoder_conf", {"normalize_waveform": None, "cache_dir": "x"}, False),
        ("speech_encoder_conf", {"frame_length_rule": "rounded"}, True),
        ("layer_weighting_conf", {"normalize": True}, True),
        ("attention_conf", {"num_heads": 4}, True),
        ("keyword_extractor_conf", {"frames_per_keyword": 5}, True),
        ("keyword_vocabulary", {"forbidden": [320]}, True),
        ("model_conf", {"align_spans": True}, True),
        ("model_conf", {"compatibility": {"convolve_padding": True}}, True),
        ("model_conf", {"compatibility": {}}, False),
        ("clip_conf", {"image_tower": False}, False),
        ("loss_conf", {"initial_temperature": 0.5}, False),
    ],
)
def test_options_count_that_change_embeddings(
    exported: Path, key: str, value: dict[str, Any], counts: bool
) -> None:
    with open_model(exported) as stored:
        config, weights = stored.config, stored.read_weights()
    changed = {**config, key: {**config.get(key, {}), **value}}
    ours, others = (fingerprint_of(each, weights, Choices()) for each in (config, changed))
    assert (ours != others) == counts


def test_what_dev_chose_counts_if_it_changes_embeddings(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "model")
    found = [model_fingerprint(tmp_path / "model")]
    weighted = {"min_score": 0.3, "fusion_weight": 0.3}
    for chosen in ({"min_score": 0.3}, weighted, *({**weighted, "branch": b} for b in BRANCHES)):
        (tmp_path / "model" / "choices.json").write_text(json.dumps(chosen))
        found.append(model_fingerprint(tmp_path / "model"))
    assert found[0] == found[1] and found[2] == found[-1]  # a weight alone means both
    assert len(set(found)) == 4


def test_the_frozen_models_count_by_content(exported: Path, tmp_path: Path) -> None:
    expected = model_fingerprint(exported)
    for file in ("model.safetensors", "config.json", "preprocessor_config.json"):
        changed = tmp_path / file / "model"
        shutil.copytree(exported, changed)
        assert model_fingerprint(changed) == expected  # where it lies does not count
        path = changed / "speech_encoder" / file
        if path.suffix == ".json":
            path.write_text(json.dumps({**json.loads(path.read_text()), "new": 1}))
        else:
            weights = load_file(path)
            name = next(name for name in weights if name.endswith("bias"))
            save_file({**weights, name: weights[name] + 1}, path, metadata={"format": "pt"})
        assert model_fingerprint(changed) != expected


def test_a_token_table_of_its_own_counts(exported: Path, tmp_path: Path) -> None:
    changed = tmp_path / "model"
    shutil.copytree(exported, changed)
    weights = load_file(changed / TRAINED_FILE)
    save_file({**weights, TOKEN_TABLE: weights[TOKEN_TABLE] + 1}, changed / TRAINED_FILE)
    assert model_fingerprint(changed) != model_fingerprint(exported)


def test_options_without_a_name_are_an_error(exported: Path) -> None:
    with open_model(exported) as stored:
        config = {**stored.config, "attention_conf": {1: 2, "x": 3, (1, 2): 4}}
    with pytest.raises(ValueError, match=r"config\.yaml: an option has no name"):
        fingerprint_of(config, {}, Choices())


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
        return open_model(path, **options)

    monkeypatch.setattr("espnet_plugin.pretrained.storage.open_model", opened_and_noted)
    assert model_fingerprint(model) == model_fingerprint(archive) == expected
    assert fingerprint_and_score(archive) == (expected, -1.0)
    assert read == []

    clip = next((model / "clip").glob("*.safetensors"))
    for number, file in enumerate((model / TRAINED_FILE, clip, model / CONFIG_FILE, archive)):
        os.utime(file, (number, number))
        assert model_fingerprint(archive if file == archive else model) == expected
        assert len(read) == number + 1
    (model / "speech_encoder" / "new").write_text("")
    assert model_fingerprint(model) != expected
    (model / "speech_encoder" / "new").unlink()
    assert model_fingerprint(model) == expected
    records = list((tmp_path / "cache" / "fingerprints").iterdir())
    for record in records:  # of an older kind
        record.write_text(record.read_text().replace('"kind": 3', '"kind": 2'))
    assert model_fingerprint(model) == expected
    for record in records:
        record.write_text('{"files": []')
    assert model_fingerprint(model) == expected
    assert len(read) == 8


def test_a_cache_that_cannot_be_written_is_done_without(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPEECHCLIP_CACHE", str(tmp_path / "file"))
    assert model_fingerprint(exported) == describe_model(exported)["fingerprint"]
