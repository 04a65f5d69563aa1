"""Find speech in a recording by energy alone, for any language.

A frame is speech if it is louder than the recording's own noise, and not far below its loudest
frames. Margins keep soft sounds at the edges of words. A recording that is equally loud throughout
is kept whole, because energy does not distinguish it from noise.
"""

from __future__ import annotations

import numpy as np

from espnet_plugin.data.scp import DataError

SILENT = 1e-3  # of full scale, −60 dB
FRAME = 0.02  # seconds
LOWEST = 80.0  # Hz; hum and rumble are below
SMOOTHED = 5  # frames of the running median; clicks are shorter
EMPTY = -100.0  # dB of frames without any sound
LOUDNESS_RANGE = 6.0  # dB from noise to loudest; with less, everything is kept
ABOVE_NOISE = 0.3  # share of that range by which speech exceeds the noise,
AT_MOST = 12.0  # at most this many dB
BELOW_LOUDEST = 40.0  # dB; softer sounds are in the background
PAUSE = 0.5  # seconds; shorter pauses are part of the speech
SHORTEST = 0.1  # seconds of speech in a part; less is a knock
MARGIN = 0.2  # seconds kept on both sides; final consonants are soft


class NoSpeechError(DataError):
    """A recording is silent."""


def spoken_part(samples: np.ndarray, rate: int) -> tuple[int, int]:
    """Where the speech of a recording begins and ends, in samples.

    Short pauses are part of it, knocks before and after it are not.

    Args:
        samples: Floating point in [-1, 1], (samples,).
        rate: Hz.

    Raises:
        NoSpeechError: When it is silent.
    """
    if len(samples) == 0 or np.abs(samples).max() < SILENT:
        raise NoSpeechError("no speech in it, only silence")
    frame = round(FRAME * rate)  # samples
    if len(samples) < frame:
        return 0, len(samples)
    levels = _levels(samples, rate, frame)
    heard = levels[levels > EMPTY]
    noise, loudest = np.percentile(heard, 10), heard.max()
    spread = loudest - noise
    spoken = levels > EMPTY
    if spread >= LOUDNESS_RANGE:
        least = noise + min(ABOVE_NOISE * spread, AT_MOST)
        spoken = levels >= max(least, loudest - BELOW_LOUDEST)
    runs = frame * np.flatnonzero(np.diff(spoken, prepend=False, append=False)).reshape(-1, 2)
    pauses = runs[1:, 0] - runs[:-1, 1]
    parts = np.split(runs, np.flatnonzero(pauses > PAUSE * rate) + 1)
    words = [part for part in parts if np.diff(part).sum() >= SHORTEST * rate] or parts
    margin = round(MARGIN * rate)
    start, end = int(words[0][0, 0]), int(words[-1][-1, 1])
    return max(0, start - margin), min(len(samples), end + margin)


def _levels(samples: np.ndarray, rate: int, frame: int) -> np.ndarray:
    """Loudness of each frame in dB of full scale, (frames,)."""
    frames = _without_hum(samples, rate)[: len(samples) // frame * frame].reshape(-1, frame)
    power = np.einsum("fs,fs->f", frames, frames) / frame
    levels = 10 * np.log10(np.maximum(power, 10 ** (EMPTY / 10)))
    padded = np.pad(levels, SMOOTHED // 2, mode="symmetric")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, SMOOTHED), axis=-1)


def _without_hum(samples: np.ndarray, rate: int) -> np.ndarray:
    """A Butterworth high-pass of second order without delay, by NumPy: importing SciPy's filters
    takes longer than a query."""
    frequencies = np.fft.rfftfreq(len(samples), 1 / rate)
    gains = frequencies**2 / np.sqrt(frequencies**4 + LOWEST**4)
    return np.fft.irfft(np.fft.rfft(samples) * gains, len(samples))
