from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_plugin.media.speech_activity import (
    EDGE,
    MARGIN,
    WINDOW,
    NoSpeechError,
    breaks,
    speech_windows,
    spoken_parts,
)

RATE = 16000
FSDD = Path(__file__).parents[4] / "shared/fsdd/recordings.zip"
RNG = np.random.default_rng(0)


def silence(seconds: float, *, decibel: float = -np.inf) -> np.ndarray:
    """White noise of a level in dB of full scale."""
    return (10 ** (decibel / 20) * RNG.standard_normal(round(seconds * RATE))).astype(np.float32)


def speech(seconds: float, *, amplitude: float = 0.3) -> np.ndarray:
    """A buzz whose loudness goes up and down four times a second, as syllables do."""
    time = np.arange(round(seconds * RATE)) / RATE
    buzz = np.sign(np.sin(2 * np.pi * 120 * time))
    return (amplitude * buzz * (0.55 - 0.45 * np.cos(2 * np.pi * 4 * time))).astype(np.float32)


def tone(seconds: float) -> np.ndarray:
    """A tone that is equally loud throughout."""
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * 150 * time)).astype(np.float32)


def spoken_part(samples: np.ndarray, rate: int) -> tuple[int, int]:
    parts = spoken_parts(samples, rate)
    return parts[0][0], parts[-1][1]


def seconds(samples: np.ndarray) -> tuple[float, float]:
    start, end = spoken_part(samples, RATE)
    return start / RATE, end / RATE


@pytest.mark.parametrize("noise", [-np.inf, -60, -30])
def test_silence_before_and_after_speech_is_cut(noise: float) -> None:
    samples = np.concatenate([silence(1), speech(2), silence(6)]) + silence(9, decibel=noise)
    start, end = seconds(samples)
    assert start == pytest.approx(1 - EDGE, abs=0.1)
    assert end == pytest.approx(3 + EDGE, abs=0.1)
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
    assert end >= 2 + MARGIN


def test_knocks_are_no_speech() -> None:
    knock = 0.9 * np.ones(round(0.02 * RATE), np.float32)
    samples = np.concatenate([knock, silence(1), speech(1), silence(2), knock, silence(1)])
    assert seconds(samples) == pytest.approx((1.02 - EDGE, 2.02 + EDGE), abs=0.1)


CLICK = np.where(np.arange(2 * RATE) == RATE, np.float32(0.5), np.float32(0))
OFFSET = np.full(RATE, 0.01, np.float32)  # of a microphone that is dead


@pytest.mark.parametrize(
    "samples", [np.zeros(0), np.zeros(RATE), silence(1, decibel=-90), CLICK, OFFSET]
)
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


def test_every_spoken_part_of_a_long_recording_is_found() -> None:
    """Two minutes of nothing but noise come after three; then the noise is 12 dB louder."""
    gaps = [2, 3, 4, 150, 1, 2, 3, 1, 0.6]
    parts, place, wanted = [], 0.0, []
    for gap in gaps:
        parts += [silence(gap), speech(1.5)]
        wanted.append((place + gap - MARGIN, place + gap + 1.5 + MARGIN))
        place += gap + 1.5
    samples = np.concatenate([*parts, silence(1)])
    noise = silence(len(samples) / RATE, decibel=-50)
    noise[200 * RATE :] *= 4
    found = np.array(spoken_parts(samples + noise[: len(samples)], RATE)) / RATE
    assert found == pytest.approx(np.array(wanted), abs=0.15)


@pytest.mark.parametrize("decibel", [-np.inf, -60, -30])
def test_quiet_that_is_shorter_than_a_pause_stays(decibel: float) -> None:
    samples = np.concatenate([silence(0.4), speech(1), silence(0.45)])
    samples += silence(len(samples) / RATE, decibel=decibel)
    assert spoken_parts(samples, RATE) == [(0, len(samples))]


@pytest.mark.skipif(not FSDD.is_file(), reason="needs the recordings of single digits")
@pytest.mark.parametrize("name", ["6_jackson_11", "6_jackson_15"])
def test_a_final_s_is_no_quiet(name: str) -> None:
    with zipfile.ZipFile(FSDD) as archive:
        samples, rate = soundfile.read(io.BytesIO(archive.read(f"recordings/{name}.wav")))
    assert spoken_parts(samples, rate) == [(0, len(samples))]


def test_half_a_second_ends_a_part() -> None:
    for pause, parts in ((0.4, 1), (0.7, 2)):
        samples = np.concatenate([speech(1), silence(pause), speech(1)])
        assert len(spoken_parts(samples, RATE)) == parts


@pytest.mark.parametrize(
    ("samples", "reason"),
    [(silence(3, decibel=-20), "only noise"), (speech(0.19), "less than 0.2 s of speech")],
)
def test_where_no_word_can_be_there_are_no_windows(samples: np.ndarray, reason: str) -> None:
    with pytest.raises(NoSpeechError, match=reason):
        speech_windows(samples, RATE)


@pytest.mark.parametrize("noise", [-np.inf, -30])
def test_a_short_word_by_itself_is_a_window(noise: float) -> None:
    word = speech(0.2) + silence(0.2, decibel=noise)
    assert speech_windows(word, RATE) == [(0, len(word))]


def test_long_parts_are_cut_between_words() -> None:
    """Words of 0.8 s with pauses of 0.3 s, which are part of the speech."""
    words = np.concatenate([part for _ in range(30) for part in (speech(0.8), silence(0.3))])
    found = np.array(speech_windows(words, RATE)) / RATE
    assert found[0, 0] == 0
    assert found[-1, 1] == pytest.approx(32.9, abs=MARGIN + 0.1)
    assert (found[1:, 0] == found[:-1, 1]).all()
    assert WINDOW / 3 <= np.diff(found).min() and np.diff(found).max() <= WINDOW
    assert (0.8 <= found[:-1, 1] % 1.1).all()  # in the pauses
    short = np.array(speech_windows(words, RATE, longest=2)) / RATE
    assert np.diff(short).max() <= 2
    assert (0.75 <= short[:-1, 1] % 1.1).all()


@pytest.mark.parametrize("noise", [-np.inf, -60, -30])
def test_breaks_are_quiet_and_longer_than_a_closure(noise: float) -> None:
    parts = [silence(0.2), tone(0.5), silence(0.12), tone(0.5), silence(0.14), tone(0.5)]
    samples = np.concatenate([*parts, silence(0.3)])
    samples += silence(len(samples) / RATE, decibel=noise)
    found = breaks(samples, RATE)
    assert found == [
        (0.0, pytest.approx(0.2)),
        (pytest.approx(1.32), pytest.approx(1.46)),
        (pytest.approx(1.96), np.inf),
    ]


def test_breaks_do_not_depend_on_the_volume() -> None:
    samples = np.concatenate([tone(0.5), silence(0.2, decibel=-80), tone(0.5)])
    assert breaks(0.01 * samples, RATE) == breaks(samples, RATE) == [(0.5, pytest.approx(0.7))]
    assert breaks(silence(1), RATE) == [(0.0, np.inf)]
    assert breaks(silence(0.01), RATE) == []
