"""A set as ESPnet3 reads it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from espnet3.components.data.dataset import CombinedDataset, do_nothing
from espnet3.contract.data import DatasetContractError

from espnet_plugin.bin import dump_speech_states
from espnet_plugin.espnet3.dataset import Dataset
from espnet_plugin.utils.errors import DataError


def test_items_are_those_of_espnet2(tiny_corpus) -> None:
    dataset = Dataset(tiny_corpus.data)
    assert len(dataset) == len(dataset.keys()) == 12
    item = dataset["img2_1"]
    assert item["image_id"].tolist() == [2]
    assert item["speech"].shape == (dataset.lengths()["img2_1"],)
    assert "text" not in item  # nothing counts the caption's sub-words
    counted = Dataset(tiny_corpus.data, model={"keyword_extractor_conf": {"target": "subwords"}})
    with pytest.raises(Exception, match="img2_1"):  # no CLIP is named, whose tokenizer it takes
        counted["img2_1"]
    with pytest.raises(TypeError, match="by utterance id"):
        dataset[0]


def test_an_id_that_looks_like_a_number_is_an_id(tiny_corpus, tmp_path: Path) -> None:
    for file in ("wav.scp", "image_feat.scp", "utt2image_id"):
        lines = (tiny_corpus.data / file).read_text().replace("img", "100").splitlines()
        (tmp_path / file).write_text("\n".join(lines).replace("/100", "/img") + "\n")
    combined = CombinedDataset([Dataset(tmp_path)], [(do_nothing, do_nothing)])
    combined.use_espnet_collator = True
    key, item = combined["1003_0"]
    assert (key, item["image_id"].tolist()) == ("1003_0", [3])


def test_speech_is_cropped_in_training_only(tiny_corpus) -> None:
    model = {"crop_seconds": 0.1}
    assert len(Dataset(tiny_corpus.data, train=True, model=model)["img2_1"]["speech"]) == 1600
    assert len(Dataset(tiny_corpus.data, model=model)["img2_1"]["speech"]) > 1600


def test_stored_states_are_those_of_the_models_encoder(
    tiny_corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(tiny_corpus.data, tmp_path, dirs_exist_ok=True)
    encoder = {"model": str(tiny_corpus.speech_encoder)}
    dump_speech_states.main([
        *("--wav_scp", f"{tmp_path}/wav.scp", "--output_dir", f"{tmp_path}/states"),
        *("--output_scp", f"{tmp_path}/speech_states.scp"),
        *("--speech_encoder_conf", f"model={encoder['model']}"),
    ])  # fmt: skip
    model = {"speech_encoder_conf": encoder, "crop_seconds": 0.1, "crop_frames": 50}
    whole, cut = (
        Dataset(tmp_path, train=t, stored_states=True, model=model) for t in (False, True)
    )
    assert "crop_frames 50 is ignored: 0.1 s are 4" in caplog.text
    assert len(whole["img0_0"]["speech_states"]) > len(cut["img0_0"]["speech_states"]) == 4
    for conf in (encoder | {"normalize_waveform": True}, {"model": "facebook/hubert-base-ls960"}):
        with pytest.raises(DataError, match="speech_encoder_conf.*: .*stage 6"):
            Dataset(tmp_path, stored_states=True, model={"speech_encoder_conf": conf})


def test_a_picture_has_a_shape(tiny_corpus, tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", np.zeros((2, 3), np.float32))
    for file in ("wav.scp", "utt2image_id"):
        (tmp_path / file).write_text((tiny_corpus.data / file).read_text())
    keys = Dataset(tiny_corpus.data).keys()
    (tmp_path / "image_feat.scp").write_text("".join(f"{k} {tmp_path}/table.npy\n" for k in keys))
    with pytest.raises((ValueError, DatasetContractError), match="table.npy"):
        Dataset(tmp_path)["img2_1"]
