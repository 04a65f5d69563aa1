"""Read AAC as phones record it (M4A, MP4, 3GP, ADTS) with PyAV, an optional package.

FFmpeg in PyAV would open other files that some formats name. It gets an open file and the name of
one format, never a path.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from espnet_plugin.data.files import MissingPackageError
from espnet_plugin.data.scp import DataError


def is_aac(path: str | Path) -> bool:
    """Whether a file begins like an MP4 container or an ADTS stream."""
    return _format_of(path) is not None


def read_aac_header(path: str | Path) -> tuple[float, int, int]:
    """Reads a file without decoding it.

    Returns:
        Seconds by its header or its packets, whichever is more; rate in Hz; number of channels.

    Raises:
        DataError: It is damaged, or holds no recording.
        MissingPackageError: PyAV is not installed.
    """
    with _opened(path) as (container, stream):
        begin = float((stream.duration or 0) * stream.time_base) if _is_mp4(container) else 0.0
        end = max(map(_end, container.demux(stream)), default=Fraction(0))
        if not stream.rate:
            raise DataError("cut off, or damaged (without a sampling rate)")
        return max(begin, float(end)), stream.rate, stream.codec_context.channels


def read_aac(path: str | Path) -> tuple[np.ndarray, int, int]:
    """Decodes a recording up to the duration in its header.

    Returns:
        Samples (samples, channels), float32; their rate in Hz; their number by the duration.

    Raises:
        DataError: It is damaged from the beginning, or holds no recording.
        MissingPackageError: PyAV is not installed.
    """
    av = _pyav()
    seconds, *_ = read_aac_header(path)
    blocks: list[np.ndarray] = []
    rate = promised = read = 0
    with _opened(path) as (container, stream):
        as_float = av.AudioResampler(format="fltp")
        try:
            for frame in container.decode(stream):
                rate = frame.sample_rate
                promised = round(seconds * rate)
                for block in as_float.resample(frame):
                    blocks.append(block.to_ndarray())  # (channels, samples)
                    read += block.samples
                if read >= promised:  # the rest fills the last packet, or the header is wrong
                    break
        except (av.FFmpegError, ValueError):
            if not blocks:
                raise
            # the caller counts what is missing after a damaged packet
    if not blocks:
        raise DataError("no samples in it")
    return np.concatenate(blocks, axis=1).T[:promised], rate, promised


def wav_command(path: str | Path) -> str:
    """The command that makes a WAV file of a recording; empty for a file named .wav."""
    path = Path(path)
    target = path.with_suffix(".wav")
    return (
        "" if target == path else f"ffmpeg -i {shlex.quote(str(path))} {shlex.quote(str(target))}"
    )


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """The container and its first stream of sound."""
    av = _pyav()
    try:
        with open(path, "rb") as file, av.open(file, format=_format_of(path)) as container:
            if not container.streams.audio:
                raise DataError("no sound in it")
            yield container, container.streams.audio[0]
    except av.FFmpegError as error:
        raise DataError(f"cut off, or damaged ({error.strerror})") from error


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingPackageError(
            "AAC is read by PyAV, which is not installed: pip install av (extra: phone)"
        ) from error
    return av


def _format_of(path: str | Path) -> str | None:
    with open(path, "rb") as file:
        head = file.read(8)
    if head[4:8] == b"ftyp":
        return "mov"
    # ADTS: twelve bits set, then a layer of 0, which MPEG audio never has
    return "aac" if head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0 else None


def _is_mp4(container: Any) -> bool:
    return "mp4" in container.format.name


def _end(packet: Any) -> Fraction:
    if packet.pts is None or not packet.size:
        return Fraction(0)
    return (packet.pts + (packet.duration or 0)) * packet.time_base
