from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from espnet_plugin.bin import speechclip_pack
from espnet_plugin.inference.speechclip_inference import SpeechCLIPInference
from espnet_plugin.pretrained import load_speechclip
from espnet_plugin.teachers.speech_batch import waveform_batch


def test_experiment_and_packed_model_load_as_plain_pytorch(trained: Path, tmp_path: Path) -> None:
    """The library's loader gives what ESPnet's inference gives."""
    speech = np.random.RandomState(1).randn(6000).astype(np.float32) * 0.1
    model_file = trained / "latest.pth"
    expected = SpeechCLIPInference(trained / "config.yaml", model_file)(speech)
    packed = tmp_path / "packed"
    speechclip_pack.main(
        [
            *("--train_config", str(trained / "config.yaml")),
            *("--model_file", str(model_file), "--outpath", str(packed)),
        ]
    )
    for source in (model_file, packed):
        model = load_speechclip(source, image_tower=False)
        output = model.encode_speech(torch.from_numpy(speech)[None])
        assert np.allclose(output.parallel[0].numpy(), expected.parallel, atol=1e-6)
        assert np.allclose(output.cascaded[0].numpy(), expected.cascaded, atol=1e-6)
    assert load_speechclip(trained, text_tower=False, image_tower=False).clip.text_tower is None


def test_recordings_of_any_rate_and_type(trained: Path, tmp_path: Path) -> None:
    model = SpeechCLIPInference(trained / "config.yaml", trained / "latest.pth")
    speech = (3000 * np.random.RandomState(1).randn(6000)).astype(np.int16)
    expected = model(speech.astype(np.float32) / 32768).parallel
    assert np.array_equal(model(speech).parallel, expected)
    soundfile.write(tmp_path / "speech.wav", speech, 16000)
    assert np.array_equal(model(tmp_path / "speech.wav").parallel, expected)
    assert np.array_equal(model(torch.from_numpy(speech), sampling_rate=16000).parallel, expected)
    batch = waveform_batch(speech)
    assert np.allclose(model.encode(batch).parallel[0], expected, atol=1e-6)


def linked_experiment(trained: Path, tmp_path: Path) -> Path:
    """A recipe whose experiment has paths relative to the recipe, and a link to it elsewhere."""
    experiment = tmp_path / "recipe" / "exp" / "speechclip_x"
    experiment.mkdir(parents=True)
    config = yaml.safe_load((trained / "config.yaml").read_text())
    encoder = tmp_path / "recipe" / "downloads" / "hubert"
    shutil.copytree(config["speech_encoder_conf"]["model"], encoder)
    config["speech_encoder_conf"]["model"] = "downloads/hubert"
    (experiment / "config.yaml").write_text(yaml.safe_dump(config))
    shutil.copy(trained / "latest.pth", experiment / "latest.pth")
    elsewhere = tmp_path / "home"
    elsewhere.mkdir()
    (elsewhere / "model").symlink_to(experiment)
    (elsewhere / "model.pth").symlink_to(experiment / "latest.pth")
    return elsewhere


def test_linked_experiments_load(trained: Path, tmp_path: Path) -> None:
    speech = np.random.RandomState(1).randn(6000).astype(np.float32) * 0.1
    expected = SpeechCLIPInference(trained / "config.yaml", trained / "latest.pth")(speech)
    links = linked_experiment(trained, tmp_path)
    for model in (
        SpeechCLIPInference.from_pretrained(str(links / "model")),
        SpeechCLIPInference.from_pretrained(str(links / "model.pth")),
        SpeechCLIPInference(None, links / "model" / "latest.pth"),
        SpeechCLIPInference(None, links / "model.pth"),
    ):
        assert np.array_equal(model(speech).parallel, expected.parallel)


def test_models_that_are_not_there(tmp_path: Path) -> None:
    for tag in (str(tmp_path / "gone"), "./gone", "exp/gone.zip", "egs2/speechclip/exp/gone"):
        with pytest.raises(FileNotFoundError, match="gone.*: no such file or directory"):
            SpeechCLIPInference.from_pretrained(tag)
