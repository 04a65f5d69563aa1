from __future__ import annotations

import numpy as np
import pytest

from espnet_plugin.data.speech_activity import MARGIN, NoSpeechError, spoken_part

RATE = 16000
RNG = np.random.default_rng(0)


def silence(seconds: float, *, decibel: float = -np.inf) -> np.ndarray:
    """White noise of a level in dB of full scale."""
    return (10 ** (decibel / 20) * RNG.standard_normal(round(seconds * RATE))).astype(np.float32)


def speech(seconds: float, *, amplitude: float = 0.3) -> np.ndarray:
    """A buzz whose loudness goes up and down four times a second, as syllables do."""
    time = np.arange(round(seconds * RATE)) / RATE
    buzz = np.sign(np.sin(2 * np.pi * 120 * time))
    return (amplitude * buzz * (0.55 - 0.45 * np.cos(2 * np.pi * 4 * time))).astype(np.float32)


def seconds(samples: np.ndarray) -> tuple[float, float]:
    start, end = spoken_part(samples, RATE)
    return start / RATE, end / RATE


@pytest.mark.parametrize("noise", [-np.inf, -60, -30])
def test_silence_before_and_after_speech_is_cut(noise: float) -> None:
    samples = np.concatenate([silence(1), speech(2), silence(6)]) + silence(9, decibel=noise)
    start, end = seconds(samples)
    assert start == pytest.approx(1 - MARGIN, abs=0.1)
    assert end == pytest.approx(3 + MARGIN, abs=0.1)
    assert start <= 1
    assert end >= 3


def test_pauses_are_part_of_the_speech() -> None:
    samples = np.concatenate([speech(1), silence(0.3), speech(1), silence(2), speech(1)])
    assert spoken_part(samples, RATE) == (0, len(samples))


def test_what_is_soft_at_the_edge_of_a_word_is_kept() -> None:
    hiss = silence(0.15, decibel=-45)  # a final s, 35 dB below the vowel
    samples = np.concatenate([silence(1), speech(1), hiss, silence(3)])
    start, end = seconds(samples)
    assert start <= 1
    assert end >= 2.15


def test_knocks_are_no_speech() -> None:
    knock = 0.9 * np.ones(round(0.02 * RATE), np.float32)
    samples = np.concatenate([knock, silence(1), speech(1), silence(2), knock, silence(1)])
    assert seconds(samples) == pytest.approx((1.02 - MARGIN, 2.02 + MARGIN), abs=0.1)


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(RATE), silence(1, decibel=-90)])
def test_silence_has_no_speech(samples: np.ndarray) -> None:
    with pytest.raises(NoSpeechError, match="only silence"):
        spoken_part(samples, RATE)


@pytest.mark.parametrize(
    "samples", [silence(3, decibel=-20), speech(2), speech(0.01), speech(3, amplitude=0.01)]
)
def test_what_is_loud_throughout_is_kept_whole(samples: np.ndarray) -> None:
    assert spoken_part(samples, RATE) == (0, len(samples))
    # in float64, and at another rate, as well
    assert spoken_part(samples.astype(float), 8000) == (0, len(samples))
