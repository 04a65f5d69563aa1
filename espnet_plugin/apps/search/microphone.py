"""Record a spoken query."""

from __future__ import annotations

import logging

import numpy as np

from espnet_plugin.utils.constants import SAMPLING_RATE as RATE
from espnet_plugin.utils.errors import DataError


def record(seconds: float) -> np.ndarray:
    """Records from the microphone.

    Args:
        seconds: Length of the recording in seconds.

    Returns:
        Samples (samples,) at 16 kHz, floating point in [-1, 1].

    Raises:
        ImportError: If the library that records is not installed.
        DataError: If there is no microphone, or it gives silence.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio itself is missing
        raise ImportError(
            "--mic needs the extra mic: pip install sounddevice, and apt-get install "
            f"libportaudio2 ({error})"
        ) from error
    try:
        sounddevice.query_devices(kind="input")
        logging.info(f"speak now, for {seconds:g} s")
        samples = sounddevice.rec(round(seconds * RATE), RATE, channels=1, blocking=True)
    except (sounddevice.PortAudioError, ValueError) as error:
        raise DataError(
            f"no microphone can be used ({error}); record a file elsewhere and give it as --wav"
        ) from error
    if not np.any(samples):
        raise DataError("the microphone gave silence; is it muted?")
    return samples[:, 0]  # (samples, 1) → (samples,)
