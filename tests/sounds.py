"""Sounds that stand for speech."""

from __future__ import annotations

import numpy as np


def murmur(samples: int, *, seed: int = 0) -> np.ndarray:
    """Noise that is softer at high frequencies, as speech is, and equally loud throughout.

    There are no words in white noise.

    Returns:
        About 0.1 of full scale, (samples,), float32.
    """
    noise = np.random.default_rng(seed).standard_normal(samples)
    echoes = 0.8 ** np.arange(40)
    return (0.06 * np.convolve(noise, echoes)[:samples]).astype(np.float32)
