"""AAC as phones record it (M4A, MP4, 3GP, ADTS), decoded by PyAV, an optional package.

FFmpeg, which PyAV holds, would follow what some formats refer to. It gets an open file and the
name of one format, never a path.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from espnet_plugin.data.files import MissingPackageError
from espnet_plugin.data.scp import DataError


@dataclass(frozen=True)
class AacHeader:
    """What a file says of itself.

    Attributes:
        seconds: Its duration by its header and by its packets, whichever is more.
        rate: Hz.
        channels: Number of them.
    """

    seconds: float
    rate: int
    channels: int


def is_aac(path: str | Path) -> bool:
    """Whether a file begins like an MP4 container or an ADTS stream."""
    return _format_of(path) is not None


def read_aac_header(path: str | Path) -> AacHeader:
    """Reads a file without decoding it.

    Raises:
        DataError: It is damaged, or holds no recording.
        MissingPackageError: PyAV is not installed.
    """
    with _opened(path) as (container, stream):
        begin = float((stream.duration or 0) * stream.time_base) if _is_mp4(container) else 0.0
        end = max(map(_end, container.demux(stream)), default=Fraction(0))
        if not stream.rate:
            raise DataError("cut off, or damaged (it does not say its sampling rate)")
        return AacHeader(max(begin, float(end)), stream.rate, stream.codec_context.channels)


def read_aac(path: str | Path) -> tuple[np.ndarray, int, int]:
    """Decodes a recording up to the duration that it says it has.

    Returns:
        Samples (samples, channels), float32; their rate in Hz; how many its duration promises.

    Raises:
        DataError: It is damaged from the beginning, or holds no recording.
        MissingPackageError: PyAV is not installed.
    """
    av = _pyav()
    seconds = read_aac_header(path).seconds
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
                if read >= promised:  # what fills the last packet up, or a header that lies
                    break
        except (av.FFmpegError, ValueError):
            if not blocks:
                raise
            # what is missing behind a damaged packet is counted by whoever asked
    if not blocks:
        raise DataError("no samples in it")
    return np.concatenate(blocks, axis=1).T[:promised], rate, promised


def wav_command(path: str | Path) -> str:
    """The command that makes a WAV file of a recording; nothing for what is called WAV already."""
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
