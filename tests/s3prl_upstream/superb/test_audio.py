from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from s3prl_upstream.superb import audio


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    stereo = np.stack([np.full(8000, 0.5), np.full(8000, 0.25)], axis=1)
    soundfile.write(path, stereo, 8000)
    return path


def test_files_are_read_as_torchaudio_reads_them(recording: Path) -> None:
    samples, rate = audio.load(recording)
    assert (samples.shape, rate, samples.dtype) == ((2, 8000), 8000, torch.float32)


def test_effects(recording: Path) -> None:
    effects = [["channels", "1"], ["rate", "16000"], ["gain", "-6.0206"]]
    samples, rate = audio.apply_effects_file(recording, effects)
    assert (samples.shape, rate) == ((1, 16000), 16000)
    assert samples[0, 8000].item() == pytest.approx(0.375 / 2, abs=1e-3)
    with pytest.raises(ValueError, match="effect reverb 50"):
        audio.apply_effects_tensor(samples, rate, [["reverb", "50"]])


def test_long_silences_are_cut_and_short_ones_stay() -> None:
    loud, short, long = torch.ones(1, 3200), torch.zeros(1, 640), torch.zeros(1, 3200)
    samples = torch.cat([long, loud, short, loud, long], dim=1)
    effect = [["silence", "1", "0.1", "0.1%", "-1", "0.1", "0.1%"]]
    kept, _ = audio.apply_effects_tensor(samples, 16000, effect)
    assert torch.equal(kept, torch.cat([loud, short, loud], dim=1))
    assert audio.apply_effects_tensor(long, 16000, effect)[0].shape == (1, 0)
