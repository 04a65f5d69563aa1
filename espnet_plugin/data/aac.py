"""Read M4A, MP4 and 3GP, as phones record them, with PyAV, an optional package.

FFmpeg in PyAV would open other files that some formats name. It gets an open file and the name of
one format, never a path.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from espnet_plugin.data.files import MissingPackageError
from espnet_plugin.data.scp import DataError


def is_aac(path: str | Path) -> bool:
    """Whether a file begins like an MP4 container."""
    with open(path, "rb") as file:
        return file.read(8)[4:] == b"ftyp"


def read_aac_header(path: str | Path) -> tuple[int, int, int]:
    """Number of samples of a channel by the header, their rate in Hz, number of channels.

    Raises:
        DataError: It is damaged, or holds no recording.
        MissingPackageError: PyAV is not installed.
    """
    with _opened(path) as (_, stream):
        return _promised(stream), stream.rate, stream.codec_context.channels


def aac_blocks(path: str | Path) -> Iterator[np.ndarray]:
    """Decodes a recording up to the duration in its header, in blocks (samples, channels), float32.

    Raises:
        DataError: It is damaged, or holds no recording.
        MissingPackageError: PyAV is not installed.
    """
    with _opened(path) as (container, stream):
        import av

        left = _promised(stream)
        as_float = av.AudioResampler(format="fltp")
        for frame in container.decode(stream):
            for block in as_float.resample(frame):
                yield block.to_ndarray().T[:left]
                left = max(0, left - block.samples)
            if not left:  # the rest fills the last packet, or the header is wrong
                break


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """The container and its first stream of sound."""
    try:
        import av
    except ImportError as error:
        raise MissingPackageError(
            "AAC is read by PyAV, which is not installed: pip install av (extra: phone), or "
            "convert it to WAV"
        ) from error
    try:
        with open(path, "rb") as file, av.open(file, format="mov") as container:
            if not (container.streams.audio and container.streams.audio[0].rate):
                raise DataError("no sound in it, or damaged")
            yield container, container.streams.audio[0]
    except av.FFmpegError as error:
        raise DataError(f"cut off, or damaged ({error.strerror})") from error


def _promised(stream: Any) -> int:
    return round(float((stream.duration or 0) * stream.time_base) * stream.rate)
