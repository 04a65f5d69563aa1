from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from espnet_plugin.media.utterance import read_utterance
from espnet_plugin.utils.errors import DataError

SAMPLES = (0.1 * np.random.RandomState(0).randn(1600)).astype(np.float32)


def read(speech, sampling_rate: int | None = None) -> np.ndarray:
    return read_utterance(speech, sampling_rate=sampling_rate, wanted_rate=16000)


def test_every_form_of_an_utterance_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    soundfile.write(path, SAMPLES, 16000, subtype="FLOAT")
    tensor = torch.from_numpy(SAMPLES).requires_grad_()
    for speech in (SAMPLES, tensor, path, str(path), path.read_bytes(), SAMPLES[::-1][::-1]):
        assert np.array_equal(read(speech), SAMPLES)
    integers = (SAMPLES * 32768).astype(np.int16)
    for speech in (integers, torch.from_numpy(integers)):
        assert np.array_equal(read(speech), integers.astype(np.float32) / 32768)


def test_files_are_mixed_down_and_resampled(tmp_path: Path) -> None:
    """A tone of 440 Hz is one at any rate."""
    tones = {
        rate: np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
        for rate in (16000, 44100)
    }
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.stack([tones[44100], 0 * tones[44100]], 1), 44100, subtype="FLOAT")
    inner = slice(200, -200)  # filters swing at the ends
    assert np.abs(read(path) - tones[16000] / 2)[inner].max() < 1e-3
    assert np.abs(read(tones[44100], 44100) - tones[16000])[inner].max() < 1e-3


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (SAMPLES[:800], "a.wav: 0.05 s long, too short for a word"),
        (np.zeros(16000), "a.wav: silent"),
        (np.tile(SAMPLES, 30), "a.wav: 3 s long, only the first 2 s are used"),
        (np.tile(SAMPLES, 20), ""),
    ],
)
def test_what_cannot_be_heard_as_a_whole_is_said(samples, said, tmp_path: Path, caplog) -> None:
    path = str(tmp_path / "a.wav")
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    heard = read_utterance(path, sampling_rate=None, wanted_rate=16000, max_seconds=2)
    assert np.array_equal(heard, samples[:32000].astype(np.float32))
    assert said in caplog.text and bool(said) == bool(caplog.messages)


@pytest.mark.parametrize(
    ("speech", "rate", "error", "message"),
    [
        ([0.1, 0.2], None, TypeError, "type list: give the samples of one utterance"),
        (None, None, TypeError, "type NoneType"),
        (np.zeros((2, 1600)), None, ValueError, r"shape \(2, 1600\): one utterance .* Transpose"),
        (torch.zeros(1, 1600), None, ValueError, r"shape \(1, 1600\)"),
        (np.zeros(1600, np.int64), None, TypeError, "torch.int64"),
        (np.zeros(0), None, ValueError, "empty"),
        (np.full(9, np.nan), None, ValueError, "NaN"),
        (np.zeros(9), 0, ValueError, "sampling_rate 0"),
        (np.ones(1), 48000, DataError, "shorter than one sample at 16000 Hz"),
        ("absent.wav", None, DataError, "absent.wav: no such file"),
        (b"RIFF of nothing", None, DataError, "speech: cannot be read"),
    ],
)
def test_what_is_no_utterance(speech, rate, error, message) -> None:
    with pytest.raises(error, match=message):
        read(speech, rate)
