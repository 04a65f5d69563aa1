"""The rooms and the noise that a recording adds to a voice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve

from .world import Acoustics

_AUDIBLE = 1.5  # reverberation times after which the room's answer is cut, at −90 dB
_FIRST_REFLECTION = 0.003  # seconds after the direct sound, about a metre of detour
_LOWEST = 50.0  # hertz below which noise does not rise any more


@dataclass(frozen=True)
class Room:
    """One recording's surroundings; units are those of ``Acoustics``."""

    reverberation_time: float
    direct_to_reverberant: float
    signal_to_noise: float
    noise_slope: float
    seed: int


def draw_room(rng: np.random.Generator, acoustics: Acoustics) -> Room:
    """Draw a room and its noise."""
    return Room(
        reverberation_time=rng.uniform(*acoustics.reverberation_time),
        direct_to_reverberant=rng.uniform(*acoustics.direct_to_reverberant),
        signal_to_noise=rng.uniform(*acoustics.signal_to_noise),
        noise_slope=rng.uniform(*acoustics.noise_slope),
        seed=int(rng.integers(2**32)),
    )


def record(speech: np.ndarray, room: Room, rate: int) -> np.ndarray:
    """Let speech sound in a room.

    The room's answer is Polack's statistical model, white noise that decays exponentially after the
    direct sound, which stays where it was: so do the words. The noise is there from start to end.

    Args:
        speech: Samples of the speech, (samples,), int16.
        room: Room in which it is recorded.
        rate: Sampling rate in Hz.

    Returns:
        As many samples, int16, which are made softer only where they would clip.
    """
    rng = np.random.default_rng(room.seed)
    dry = speech.astype(np.float64)
    wet = fftconvolve(dry, impulse_response(rng, room, rate))[: len(dry)]
    noise = coloured_noise(rng, len(dry), room.noise_slope, rate)
    noise *= np.sqrt(np.mean(wet**2) / np.mean(noise**2)) * 10 ** (-room.signal_to_noise / 20)
    heard = wet + noise
    peak = np.abs(heard).max()
    return np.round(heard * min(1.0, 32000.0 / max(peak, 1.0))).astype(np.int16)


def impulse_response(rng: np.random.Generator, room: Room, rate: int) -> np.ndarray:
    """Return the direct sound, 1 at the first sample, and the decaying answer, (samples,)."""
    time = np.arange(int(_AUDIBLE * room.reverberation_time * rate)) / rate
    answer = rng.standard_normal(len(time)) * 10 ** (-3 * time / room.reverberation_time)
    answer[time < _FIRST_REFLECTION] = 0.0
    answer *= 10 ** (-room.direct_to_reverberant / 20) / np.linalg.norm(answer)
    answer[0] = 1.0
    return answer


def coloured_noise(rng: np.random.Generator, samples: int, slope: float, rate: int) -> np.ndarray:
    """Return noise whose power falls with the frequency to the power of ``slope``, (samples,)."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / rate), _LOWEST)
    return np.fft.irfft(spectrum * frequency ** (-slope / 2), samples)
