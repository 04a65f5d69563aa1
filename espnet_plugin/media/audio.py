"""Read and check recordings of any format and rate, whole or in part.

:func:`read_header` gives the length, :func:`read_audio` gives the channels, :func:`read_mono` the
mean of the channels at a rate of your choice. Each takes a path, or the content of a file as bytes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from espnet_plugin.media.decoders import Header, Recording, open_recording
from espnet_plugin.utils.errors import DataError

SUFFIXES = frozenset(
    ".3gp .aif .aifc .aiff .au .caf .flac .m4a .m4b .mp3 .oga .ogg .opus .rf64 .w64 .wav".split()
)
# edited Vorbis files count a block or two too many; a cut off file lacks far more
SHORTFALL_SECONDS = 0.05
SHORTFALL_SHARE = 0.01


@dataclass(frozen=True)
class Audio:
    """The content of a recording.

    Attributes:
        samples: Samples in float32 in [-1, 1], (samples, channels).
        rate: Sampling rate in Hz.
        kind: libsndfile's names of container and encoding; otherwise MP4 and AAC.
        missing: Number of samples that the header promises beyond these.
    """

    samples: np.ndarray
    rate: int
    kind: tuple[str, str]
    missing: int

    @property
    def mono(self) -> np.ndarray:
        """The mean of the channels, (samples,)."""
        return self.samples.mean(axis=1)


def is_recording(path: str | Path) -> bool:
    """Whether a file has the name of a recording."""
    return os.path.splitext(path)[1].lower() in SUFFIXES


def read_header(source: str | bytes) -> Header:
    """Reads the header of a recording, without its samples.

    Raises:
        DataError: If it is missing, or in a format that cannot be read.
    """
    with open_recording(source) as recording:
        return recording.header


def read_audio(source: str | bytes) -> Audio:
    """Reads a recording and checks that there is sound in it.

    Raises:
        DataError: If it is missing, unreadable, cut off, empty, or not finite.
    """
    with open_recording(source) as recording:
        end = recording.header.num_samples
        samples = np.concatenate(list(_finite_blocks(recording, 0, end)))
        missing = shortfall(recording, read=len(samples), last=end)
        return Audio(samples, recording.header.rate, recording.kind, missing)


def read_mono(
    source: str | bytes, rate: int, *, start: float = 0.0, end: float = math.inf
) -> np.ndarray:
    """Reads the mean of a recording's channels at a rate in Hz, float32, (samples,).

    It is decoded block by block: a long one needs memory for little more than the result. A part
    of it begins and ends at times in seconds.

    Raises:
        DataError: If the recording cannot be used, see :func:`read_audio`.
    """
    import soxr

    with open_recording(source) as recording:
        header = recording.header
        first, last = (round(min(time, header.seconds) * header.rate) for time in (start, end))
        mono = np.empty(math.ceil(((last - first) / header.rate + 1) * rate), np.float32)
        convert = soxr.ResampleStream(header.rate, rate, 1, dtype="float32", quality="HQ")
        filled, read = 0, first
        the_end = np.empty((0, 1), np.float32)
        for block in chain(_finite_blocks(recording, first, last), [the_end]):
            read += len(block)
            part = block.mean(axis=1)
            if header.rate != rate:
                part = convert.resample_chunk(part, last=block is the_end)
            mono[filled : filled + len(part)] = part
            filled += len(part)
        shortfall(recording, read=read, last=last)
    return mono[:filled]


def _finite_blocks(recording: Recording, first: int, last: int) -> Iterator[np.ndarray]:
    """Yields the samples (samples, channels), at least one, from the first to before the last."""
    empty = True
    for block in recording.blocks(first, last):
        if not np.isfinite(block).all():
            raise DataError("holds NaN or infinite samples")
        yield block
        empty = False
    if empty:
        raise DataError("no samples in it")


def shortfall(recording: Recording, *, read: int, last: int) -> int:
    """Number of samples that a recording promises before the last, minus those ``read``.

    Raises:
        DataError: If more than 50 ms and more than 1 % are missing: the recording is cut off.
    """
    promised = max(last, recording.promised(read))
    missing = max(0, promised - read)
    if missing > max(SHORTFALL_SECONDS * recording.header.rate, SHORTFALL_SHARE * promised):
        raise DataError(f"cut off: {read} of {promised} samples")
    return missing


def resampled(mono: np.ndarray, source_rate: int, rate: int) -> np.ndarray:
    """Resamples mono samples (samples,) to another rate in Hz (soxr, high quality)."""
    import soxr

    return mono if source_rate == rate else soxr.resample(mono, source_rate, rate, quality="HQ")


def checked_speech(speech: np.ndarray) -> np.ndarray:
    """Returns mono speech of at least one sample and finite values, or raises a ValueError.

    Args:
        speech: Samples of the speech, (samples,).
    """
    if speech.ndim != 1:
        raise ValueError(f"audio channels: {speech.shape[-1]}, but mono is needed (stage 2 mixes)")
    if speech.size == 0:
        raise ValueError("audio is empty (0 samples)")
    if not np.isfinite(speech).all():
        raise ValueError("audio holds NaN or infinite samples")
    return speech
