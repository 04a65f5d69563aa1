from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.recordings import RATE, join


def test_utterances_are_where_they_are_said_to_be(tmp_path: Path) -> None:
    """Four utterances of four minutes: a recording is full after three."""
    utterance = np.tile(np.array([0.5, -0.5], np.float32), 120 * RATE)
    places = join([utterance] * 4, tmp_path / "made", 20)
    assert [Path(path).name for path, _ in places] == ["0000.flac"] * 3 + ["0003.flac"]
    for path, start in places:
        samples, rate = soundfile.read(path, start=round((start - 1) * RATE))
        assert rate == RATE
        assert samples[:RATE].std() == pytest.approx(0.05, rel=0.6)
        assert np.abs(samples[RATE : RATE + 1000]).min() == pytest.approx(0.5, abs=1e-3)
