"""Find the speech in a recording by its energy alone, which works for any language.

A frame is speech if it is louder than the noise around it, and not far below the loudest frames
around it. Margins keep soft sounds at the edges of words. A recording that is equally loud
throughout is kept whole, because energy does not distinguish it from noise; but a model gets no
white noise, whose spectrum speech never has.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from espnet_plugin.utils.errors import DataError

SILENT = 1e-3  # of full scale, −60 dB
FRAME = 0.02  # seconds
LOWEST = 80.0  # Hz; hum and rumble are below
SMOOTHED = 5  # frames of the running median; clicks are shorter
EMPTY = -100.0  # dB of frames without any sound
LOUDNESS_RANGE = 6.0  # dB from noise to loudest; with less, everything is kept
ABOVE_NOISE = 0.3  # share of that range by which speech exceeds the noise,
AT_MOST = 12.0  # at most this many dB
BELOW_LOUDEST = 40.0  # dB; softer sounds are in the background
AROUND = 1500  # frames, 30 s: noise and loudness are those of such a block and of both beside it
BLOCK = 3000  # frames that are filtered together, with some beside them
BESIDE = 25
PAUSE = 0.5  # seconds; shorter pauses are part of the speech
KNOCK = 0.1  # seconds; a part with less sound is a knock
MARGIN = 0.1  # seconds kept beside a pause: final consonants are soft, but pauses hold noise
EDGE = 0.2  # seconds kept at both ends of a recording
WINDOW = 10.0  # seconds at most
BETWEEN_WORDS = 9  # frames; within words no silence is so long
SHORTEST = 0.2  # seconds; shorter speech has no whole word
BREAK = 7  # frames; closures of plosives are shorter
BREAK_BELOW, BREAK_ABOVE = 50.0, 3.0  # dB below the loudest frame, above the softest
WHITE_FRAME = 1024  # samples
FLATTEST, LOUDEST = 0.5, 4.0  # of the mean power, and of the softest frame


class NoSpeechError(DataError):
    """A recording is silent, white noise, or has too little speech for a word."""


def spoken_parts(samples: np.ndarray, rate: int) -> list[tuple[int, int]]:
    """First and last sample of each part of a recording that is speech; pauses separate them.

    Short pauses are part of the speech, at the ends of the recording, too, so a recording without
    silence stays whole. Knocks before and after speech are not part of it.

    Args:
        samples: Floating-point samples in [-1, 1], (samples,); an hour needs little more memory.
        rate: Sampling rate in Hz.

    Raises:
        NoSpeechError: If the recording is silent.
    """
    if len(samples) == 0 or max(samples.max(), -samples.min()) < SILENT:
        raise NoSpeechError("no speech in it, only silence")
    frame = round(FRAME * rate)  # samples
    if len(samples) < frame:
        return [(0, len(samples))]
    levels = _levels(samples, rate)
    noise = _around(levels, lambda heard: np.percentile(heard, 10))
    spread = levels.max() - noise
    least = noise + np.minimum(ABOVE_NOISE * spread, AT_MOST)
    least = np.maximum(least, _around(levels, np.max) - BELOW_LOUDEST)
    spoken = (levels > EMPTY) & ((levels >= least) | (spread < LOUDNESS_RANGE))
    runs = frame * np.flatnonzero(np.diff(spoken, prepend=False, append=False)).reshape(-1, 2)
    if not len(runs):
        raise NoSpeechError("no speech in it, only silence")
    pauses = runs[1:, 0] - runs[:-1, 1]
    parts = np.split(runs, np.flatnonzero(pauses >= PAUSE * rate) + 1)
    words = [part for part in parts if np.diff(part).sum() >= KNOCK * rate] or parts
    kept, edge = round(MARGIN * rate), round(EDGE * rate)
    starts = [int(part[0, 0]) - kept for part in words]
    ends = [int(part[-1, 1]) + kept for part in words]
    first, last = starts[0] + kept, ends[-1] - kept
    starts[0] = first - edge if first >= PAUSE * rate else 0
    ends[-1] = last + edge if len(samples) - last >= PAUSE * rate else len(samples)
    return list(zip(starts, ends, strict=True))


def speech_windows(
    samples: np.ndarray, rate: int, *, longest: float = WINDOW
) -> list[tuple[int, int]]:
    """Cuts the long parts that :func:`spoken_parts` finds at their quietest places: between words.
    ``longest`` is in seconds; pieces have at least a third of it.

    Raises:
        NoSpeechError: If the recording is silent, white noise, or too short for a word.
    """
    parts = spoken_parts(samples, rate)
    if sum(end - start for start, end in parts) < SHORTEST * rate:
        raise NoSpeechError(f"less than {SHORTEST} s of speech, too short for a word")
    if _is_white(samples):
        raise NoSpeechError("no speech in it, only noise")
    windows, waiting = [], parts[::-1]
    while waiting:
        start, end = waiting.pop()
        third = (end - start) // 3
        if end - start <= longest * rate:
            windows.append((start, end))
            continue
        levels = _levels(samples[start + third : end - third], rate)
        quiet = np.convolve(levels, np.ones(BETWEEN_WORDS), "valid").argmin()
        place = start + third + round((quiet + BETWEEN_WORDS / 2) * FRAME * rate)
        waiting += [(place, end), (start, place)]
    return windows


def breaks(samples: np.ndarray, rate: int) -> list[tuple[float, float]]:
    """First and last second of each stretch that is too soft and too long to be within a word.

    Its frames are 50 dB below the loudest frame of the recording, or as soft as the softest one,
    which holds its noise. A break that the recording ends with has no end (infinity).

    Args:
        samples: Floating-point samples in [-1, 1], (samples,).
        rate: Sampling rate in Hz.
    """
    frame = round(FRAME * rate)  # samples
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    if not len(frames):
        return []
    levels = 10 * np.log10(np.maximum(np.mean(frames**2, axis=1), 10 ** (EMPTY / 10)))
    quiet = levels < max(levels.max() - BREAK_BELOW, levels.min() + BREAK_ABOVE)
    runs = np.flatnonzero(np.diff(quiet, prepend=False, append=False)).reshape(-1, 2)
    return [
        (float(first * FRAME), float(last * FRAME) if last < len(frames) else math.inf)
        for first, last in runs
        if last - first >= BREAK
    ]


def _is_white(samples: np.ndarray) -> bool:
    """Whether samples (samples,) are equally strong at all frequencies and all the time."""
    frames = samples[: len(samples) // WHITE_FRAME * WHITE_FRAME].reshape(-1, WHITE_FRAME)
    levels = np.einsum("fs,fs->f", frames, frames)
    if levels.max() >= LOUDEST * levels.min():
        return False
    powers = np.mean(np.abs(np.fft.rfft(frames * np.hanning(WHITE_FRAME))) ** 2, axis=0)[1:-1]
    # the spectral flatness of speech is below 0.1
    return bool(np.exp(np.mean(np.log(powers + 1e-12))) > FLATTEST * np.mean(powers))


def _levels(samples: np.ndarray, rate: int) -> np.ndarray:
    """Loudness of each frame in dB of full scale, (frames,)."""
    frame = round(FRAME * rate)
    powers = []
    for first in range(0, len(samples) // frame, BLOCK):
        begin = max(0, first - BESIDE)
        block = samples[begin * frame : (first + BLOCK + BESIDE) * frame]
        last = min(first + BLOCK, len(samples) // frame)
        heard = _without_hum(block, rate)[(first - begin) * frame : (last - begin) * frame]
        frames = heard.reshape(-1, frame)
        powers.append(np.einsum("fs,fs->f", frames, frames) / frame)
    levels = 10 * np.log10(np.maximum(np.concatenate(powers), 10 ** (EMPTY / 10)))
    padded = np.pad(levels, SMOOTHED // 2, mode="symmetric")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, SMOOTHED), axis=-1)


def _around(levels: np.ndarray, measure: Callable[[np.ndarray], float]) -> np.ndarray:
    """A measure of the frames with sound around each frame, (frames,); EMPTY if there are none."""
    found = np.full(len(levels), EMPTY)
    for first in range(0, len(levels), AROUND):
        around = levels[max(0, first - AROUND) : first + 2 * AROUND]
        if (around > EMPTY).any():
            found[first : first + AROUND] = measure(around[around > EMPTY])
    return found


def _without_hum(samples: np.ndarray, rate: int) -> np.ndarray:
    """A Butterworth high-pass of second order without delay, by NumPy: importing SciPy's filters
    takes longer than a query."""
    frequencies = np.fft.rfftfreq(len(samples), 1 / rate)
    gains = frequencies**2 / np.sqrt(frequencies**4 + LOWEST**4)
    return np.fft.irfft(np.fft.rfft(samples) * gains, len(samples))
