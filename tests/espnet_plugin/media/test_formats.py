from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile

from espnet_plugin.media.formats import wav_part


def test_a_recording_or_a_part_of_it_as_wav(tmp_path: Path) -> None:
    """Two seconds; the second one is louder."""
    samples = np.repeat([0.1, 0.5], 8000)
    soundfile.write(tmp_path / "a.flac", np.stack([samples, samples], axis=1), 8000)
    whole, rate = soundfile.read(io.BytesIO(wav_part(str(tmp_path / "a.flac"))))
    assert (len(whole), rate) == (16000, 8000)
    part, rate = soundfile.read(io.BytesIO(wav_part(str(tmp_path / "a.flac"), 0.9, 1.25)))
    assert rate == 8000
    np.testing.assert_allclose(part, np.repeat([0.1, 0.5], [800, 2000]), atol=1e-4)
