"""Opens recordings: soundfile reads libsndfile's formats, and PyAV, an optional package, AAC.

AAC comes in M4A, MP4 and 3GP, as phones record it. FFmpeg in PyAV would open other files that some
formats name. It gets an open file and the name of one format, never a path.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.files import MissingPackageError, file_problem

BLOCK = 2**16  # samples of a channel
# libsndfile compares the lengths of CAF, FLAC and MP3 itself. Its log has those of WAV, RF64, AIFF,
# AU and Wave64 that end early, in bytes
NO_LENGTH = 2**63 - 1  # samples of FLAC that was written to a pipe
ENDS_EARLY = re.compile(
    r"^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)", re.MULTILINE
)
# written by programs that cannot go back to fill in the length
UNKNOWN_LENGTH = (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x7FFFF000)


@dataclass(frozen=True)
class Header:
    """Length and form of a recording by its header.

    Attributes:
        num_samples: Number of samples of a channel.
        rate: Sampling rate in Hz.
        channels: Number of channels.
    """

    num_samples: int
    rate: int
    channels: int

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.num_samples / self.rate


class Recording(Protocol):
    """An open recording.

    Attributes:
        header: Length and form that the file's header states.
        kind: Names of container and encoding, as libsndfile has them.
    """

    header: Header
    kind: tuple[str, str]

    def blocks(self, first: int, last: int) -> Iterator[np.ndarray]:
        """Yields float32 samples (samples, channels) from the first to before the last."""
        ...

    def promised(self, read: int) -> int:
        """Number of samples of a channel that should be there, if ``read`` were decoded."""
        ...


@contextmanager
def open_recording(source: str | bytes) -> Iterator[Recording]:
    """Opens a recording; an error inside the block says what is wrong with the file.

    Args:
        source: Path of a file, or the content of a file.

    Raises:
        DataError: If it is missing, damaged, or in a format that cannot be read.
        MissingPackageError: If it is in AAC, and PyAV is not installed.
    """
    import soundfile

    file = io.BytesIO(source) if isinstance(source, bytes) else _checked(source)
    try:
        if _is_aac(file):
            with _open_aac(file) as recording:
                yield recording
        else:
            with soundfile.SoundFile(file) as stream:
                yield _SoundFileRecording(stream)
    except DataError:
        raise
    # a damaged header may promise more than the memory holds
    except (soundfile.SoundFileError, RuntimeError, ValueError, MemoryError) as error:
        hint = "if it is a recording, convert it to WAV"
        raise DataError(f"cannot be read ({error}); {hint}") from error


def _checked(path: str) -> str:
    if path.endswith("|"):
        raise DataError("a command instead of a file; write its output to a file first")
    if problem := file_problem(path):
        raise DataError(problem)
    if path.lower().endswith(".raw"):  # soundfile would ask for its rate
        raise DataError("samples without a header; convert it to WAV")
    return path


class _SoundFileRecording:
    def __init__(self, stream: Any) -> None:
        if stream.frames == NO_LENGTH:
            raise DataError("its header gives no length; convert it to WAV")
        self._stream = stream
        self.header = Header(stream.frames, stream.samplerate, stream.channels)
        self.kind = (stream.format, stream.subtype)

    def blocks(self, first: int, last: int) -> Iterator[np.ndarray]:
        place = self._stream.seek(first) if first else 0  # some formats cannot seek
        while len(
            block := self._stream.read(min(BLOCK, last - place), dtype="float32", always_2d=True)
        ):
            place += len(block)
            yield block

    def promised(self, read: int) -> int:
        """Asks libsndfile's log, which compares bytes: right for any encoding of a fixed rate."""
        found = ENDS_EARLY.search(self._stream.extra_info)
        promised, held = map(int, found.groups()) if found else (0, 0)
        if promised <= held or held <= 0 or promised in UNKNOWN_LENGTH:
            return read
        return round(read * promised / held)


def _is_aac(file: str | io.BytesIO) -> bool:
    """Whether a file begins like an MP4 container."""
    if isinstance(file, io.BytesIO):
        return file.getbuffer()[4:8] == b"ftyp"
    with open(file, "rb") as stream:
        return stream.read(8)[4:] == b"ftyp"


@contextmanager
def _open_aac(file: str | io.BytesIO) -> Iterator[Recording]:
    try:
        import av
    except ImportError as error:
        raise MissingPackageError(
            "AAC is read by PyAV, which is not installed: pip install av (extra: phone), or "
            "convert it to WAV"
        ) from error
    try:
        with ExitStack() as stack:
            # FFmpeg gets an open file, never a path
            stream = stack.enter_context(open(file, "rb")) if isinstance(file, str) else file
            container = stack.enter_context(av.open(stream, format="mov"))
            if not (container.streams.audio and container.streams.audio[0].rate):
                raise DataError("no sound in it, or damaged")
            yield _AacRecording(container, container.streams.audio[0])
    except av.FFmpegError as error:
        raise DataError(f"cut off, or damaged ({error.strerror})") from error


class _AacRecording:
    kind = ("MP4", "AAC")

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        seconds = float((stream.duration or 0) * stream.time_base)
        channels = stream.codec_context.channels
        self.header = Header(round(seconds * stream.rate), stream.rate, channels)

    def blocks(self, first: int, last: int) -> Iterator[np.ndarray]:
        import av

        place = 0
        as_float = av.AudioResampler(format="fltp")
        for frame in self._container.decode(self._stream):
            for decoded in as_float.resample(frame):
                block = decoded.to_ndarray().T  # (samples, channels)
                if len(part := block[max(0, first - place) : max(0, last - place)]):
                    yield part
                place += len(block)
            if place >= last:  # what is beyond the header's length fills the last packet
                break

    def promised(self, read: int) -> int:
        return read
