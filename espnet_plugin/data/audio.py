"""Bring recordings to one sampling rate, one channel and one format, one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_plugin.data.scp import DataError
from espnet_plugin.utils.atomic import atomic_path

FORMATS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16")}


@dataclass(frozen=True)
class Recording:
    """A file that is ready for training, and what had to be done to it."""

    path: str
    num_samples: int
    mixed_down: bool = False
    resampled_from: int | None = None
    kept: bool = False  # the source was right already and is used as it lies


def parse_rate(text: str | int) -> int:
    """Reads a sampling rate such as ``16000`` or ``16k`` in Hz."""
    import humanfriendly

    try:
        return int(humanfriendly.parse_size(str(text)))
    except humanfriendly.InvalidSize as error:
        raise DataError(f"--fs {text}: not a sampling rate; write 16k or 16000") from error


def read_audio(path: str) -> tuple[np.ndarray, int, str, str]:
    """Reads a recording and checks that there is sound in it.

    Returns:
        Samples (samples, channels) float32 in [-1, 1], rate in Hz, format, sub-type.

    Raises:
        DataError: Missing, unreadable, cut off, empty, or not finite.
    """
    import soundfile

    if path.endswith("|"):
        raise DataError("a command instead of a file; write its output to a file first")
    if not Path(path).is_file():
        raise DataError("no such file")
    if Path(path).stat().st_size == 0:
        raise DataError("empty file")
    try:
        with soundfile.SoundFile(path) as stream:
            expected = stream.frames
            samples = stream.read(dtype="float32", always_2d=True)
            rate, kind, subtype = stream.samplerate, stream.format, stream.subtype
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise DataError(f"cannot be read ({error})") from error
    if len(samples) == 0:
        raise DataError("no samples in it")
    if len(samples) < expected:
        raise DataError(f"cut off: {len(samples)} of {expected} samples")
    if not np.isfinite(samples).all():
        raise DataError("holds NaN or infinite samples")
    return samples, rate, kind, subtype


def resampled(mono: np.ndarray, source_rate: int, rate: int) -> np.ndarray:
    """Samples (samples,) at another rate in Hz (soxr, high quality)."""
    import soxr

    return mono if source_rate == rate else soxr.resample(mono, source_rate, rate, quality="HQ")


def format_recording(source: str, target: Path, *, rate: int, audio_format: str) -> Recording:
    """Writes ``target`` from ``source``, or returns the source itself when nothing is to be done.

    Channels are averaged, other rates resampled (soxr, high quality), samples stored as 16 bits.

    Args:
        source: The recording.
        target: Where a converted one goes.
        rate: Wanted sampling rate in Hz.
        audio_format: ``wav`` or ``flac``.

    Raises:
        DataError: See ``read_audio``.
    """
    import soundfile

    samples, source_rate, kind, subtype = read_audio(source)
    mixed_down = samples.shape[1] > 1
    wanted = FORMATS[audio_format]
    if source_rate == rate and not mixed_down and (kind, subtype) == wanted:
        return Recording(source, len(samples), kept=True)
    mono = resampled(samples.mean(axis=1), source_rate, rate)  # (samples, channels) → (samples,)
    if len(mono) == 0:
        raise DataError("shorter than one sample after resampling")
    with atomic_path(target) as temporary:
        # resampling may overshoot full scale a little: clip rather than wrap around
        soundfile.write(
            temporary, np.clip(mono, -1.0, 1.0), rate, format=wanted[0], subtype=wanted[1]
        )
    return Recording(
        str(target), len(mono), mixed_down, source_rate if source_rate != rate else None
    )
