"""Bring recordings to one sampling rate, one channel and one format."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from espnet_plugin.data.aac import aac_blocks, is_aac, read_aac_header
from espnet_plugin.data.files import file_problem
from espnet_plugin.data.scp import DataError
from espnet_plugin.utils.atomic import atomic_path

SUFFIXES = frozenset(
    ".3gp .aif .aifc .aiff .au .caf .flac .m4a .m4b .mp3 .oga .ogg .opus .rf64 .w64 .wav".split()
)
BLOCK = 2**16  # samples of a channel
FORMATS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16")}
# edited Vorbis files count a block or two too many; a cut off file lacks far more
SHORTFALL_SECONDS = 0.05
SHORTFALL_SHARE = 0.01
# libsndfile compares the lengths of CAF, FLAC and MP3 itself. Its log has those of WAV, RF64, AIFF,
# AU and Wave64 that end early, in bytes
ENDS_EARLY = re.compile(
    r"^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)", re.MULTILINE
)
# written by programs that cannot go back to fill in the length
UNKNOWN_LENGTH = (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x7FFFF000)


@dataclass(frozen=True)
class FormattedRecording:
    """A file that is ready for training.

    Attributes:
        path: The file.
        num_samples: Its length.
        changes: What had to be done to it, as a report counts it.
    """

    path: str
    num_samples: int
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Header:
    """Length and form of a recording by its header.

    Attributes:
        num_samples: Samples of a channel.
        rate: Samples of a channel per second, Hz.
        channels: Number of channels.
    """

    num_samples: int
    rate: int
    channels: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.num_samples / self.rate


@dataclass(frozen=True)
class Audio:
    """The content of a recording.

    Attributes:
        samples: float32 in [-1, 1], (samples, channels).
        rate: Samples of a channel per second, Hz.
        kind: libsndfile's names of container and encoding; otherwise MP4 and AAC.
        missing: Samples that the header promises beyond these.
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


def parse_rate(text: str | int) -> int:
    """Reads a sampling rate such as ``16000`` or ``16k`` in Hz."""
    import humanfriendly

    try:
        return int(humanfriendly.parse_size(str(text)))
    except humanfriendly.InvalidSize as error:
        raise DataError(f"--fs {text}: not a sampling rate; write 16k or 16000") from error


def tolerated_shortfall(*, promised: int, read: int, rate: int) -> int:
    """Samples that a recording's header or container promises, minus those that were read.

    Args:
        promised: Samples of a channel according to the header.
        read: Samples of a channel that were decoded.
        rate: Hz.

    Raises:
        DataError: They are more than 50 ms and more than 1 %: the recording is cut off.
    """
    missing = max(0, promised - read)
    if missing > max(SHORTFALL_SECONDS * rate, SHORTFALL_SHARE * promised):
        raise DataError(f"cut off: {read} of {promised} samples")
    return missing


def read_header(path: str) -> Header:
    """Reads the header of a recording, without its samples.

    Raises:
        DataError: Missing, or in a format that cannot be read.
    """
    import soundfile

    with _readable(path):
        if is_aac(path):
            return Header(*read_aac_header(path))
        info = soundfile.info(path)
        return Header(info.frames, info.samplerate, info.channels)


def read_audio(path: str) -> Audio:
    """Reads a recording and checks that there is sound in it.

    Raises:
        DataError: Missing, unreadable, cut off, empty, or not finite.
    """
    import soundfile

    with _readable(path):
        if is_aac(path):
            promised, rate, _ = read_aac_header(path)
            samples = np.concatenate(list(aac_blocks(path)) or [np.empty((0, 1), np.float32)])
            kind = ("MP4", "AAC")
        else:
            with soundfile.SoundFile(path) as stream:
                samples = stream.read(stream.frames, dtype="float32", always_2d=True)
                rate, kind = stream.samplerate, (stream.format, stream.subtype)
                promised = max(stream.frames, _by_log(stream.extra_info, read=len(samples)))
    if len(samples) == 0:
        raise DataError("no samples in it")
    missing = tolerated_shortfall(promised=promised, read=len(samples), rate=rate)
    if not np.isfinite(samples).all():
        raise DataError("holds NaN or infinite samples")
    return Audio(samples, rate, kind, missing)


def read_mono(path: str, rate: int, *, start: float = 0.0, end: float = math.inf) -> np.ndarray:
    """The mean of a recording's channels at a rate in Hz, float32, (samples,).

    It is decoded block by block: a long one needs memory for little more than the result. A part
    of it begins and ends at times in seconds.

    Raises:
        DataError: See ``read_audio``.
    """
    import soxr

    header = read_header(path)
    first, last = (round(min(time, header.seconds) * header.rate) for time in (start, end))
    with _readable(path):
        mono = np.empty(math.ceil(((last - first) / header.rate + 1) * rate), np.float32)
    convert = soxr.ResampleStream(header.rate, rate, 1, dtype="float32", quality="HQ")
    filled = 0
    for block in chain(_blocks(path, first, last), [np.empty((0, 1), np.float32)]):
        if not np.isfinite(block).all():
            raise DataError("holds NaN or infinite samples")
        part = block.mean(axis=1)
        if header.rate != rate:
            part = convert.resample_chunk(part, last=not len(block))
        mono[filled : filled + len(part)] = part
        filled += len(part)
    return mono[:filled]


def _blocks(path: str, first: int, last: int) -> Iterator[np.ndarray]:
    """Yields the samples (samples, channels) from the first to before the last, in their order."""
    import soundfile

    with _readable(path):
        if is_aac(path):
            place, rate, promised = 0, read_aac_header(path)[1], last
            for block in aac_blocks(path):
                if len(part := block[max(0, first - place) : max(0, last - place)]):
                    yield part
                place += len(block)
        else:
            with soundfile.SoundFile(path) as stream:
                place, rate = stream.seek(first), stream.samplerate
                options = {"dtype": "float32", "always_2d": True}
                while len(block := stream.read(min(BLOCK, last - place), **options)):
                    place += len(block)
                    yield block
                promised = max(last, _by_log(stream.extra_info, read=place))
        if place <= first:
            raise DataError("no samples in it")
        tolerated_shortfall(promised=promised, read=min(place, promised), rate=rate)


def _by_log(log: str, *, read: int) -> int:
    """Samples of a channel that the header promises by libsndfile's log, where ``read`` are there.

    It compares bytes, which holds for any encoding of a fixed rate.
    """
    found = ENDS_EARLY.search(log)
    promised, held = map(int, found.groups()) if found else (0, 0)
    if promised <= held or held <= 0 or promised in UNKNOWN_LENGTH:
        return read
    return round(read * promised / held)


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Turns errors into one that says what is wrong with a recording."""
    import soundfile

    if path.endswith("|"):
        raise DataError("a command instead of a file; write its output to a file first")
    if problem := file_problem(path):
        raise DataError(problem)
    try:
        yield
    except DataError:
        raise
    # a damaged header may promise more than the memory holds
    except (soundfile.SoundFileError, RuntimeError, ValueError, MemoryError) as error:
        hint = "if it is a recording, convert it to WAV"
        raise DataError(f"cannot be read ({error}); {hint}") from error


def resampled(mono: np.ndarray, source_rate: int, rate: int) -> np.ndarray:
    """Samples (samples,) at another rate in Hz (soxr, high quality)."""
    import soxr

    return mono if source_rate == rate else soxr.resample(mono, source_rate, rate, quality="HQ")


def checked_speech(speech: np.ndarray) -> np.ndarray:
    """Returns mono speech of at least one sample and finite values, or raises a ValueError.

    Args:
        speech: (samples,).
    """
    if speech.ndim != 1:
        raise ValueError(f"audio has {speech.shape[-1]} channels, mono is needed (stage 2 mixes)")
    if speech.size == 0:
        raise ValueError("audio is empty (0 samples)")
    if not np.isfinite(speech).all():
        raise ValueError("audio holds NaN or infinite samples")
    return speech


def format_recording(
    source: str, target: Path, *, rate: int, audio_format: str
) -> FormattedRecording:
    """Writes ``target`` from ``source``, or returns the source if it already has the right form.

    Channels are averaged, other rates are resampled (soxr, high quality), and samples are stored in
    16 bits.

    Args:
        source: The recording.
        target: File for a converted recording.
        rate: Wanted sampling rate in Hz.
        audio_format: ``wav`` or ``flac``.

    Raises:
        DataError: See ``read_audio``.
    """
    import soundfile

    audio = read_audio(source)
    changes = []
    if audio.rate != rate:
        changes.append(f"resampled from {audio.rate} Hz")
    if audio.samples.shape[1] > 1:
        changes.append("with several channels mixed down to one")
    if audio.missing:  # a new file corrects the header for later stages
        changes.append("end a little before their headers say: used")
    wanted = FORMATS[audio_format]
    if not changes and audio.kind == wanted:
        return FormattedRecording(source, len(audio.samples), ("used as they are",))
    mono = resampled(audio.mono, audio.rate, rate)
    if len(mono) == 0:
        raise DataError("shorter than one sample after resampling")
    with atomic_path(target) as temporary:
        # resampling may exceed full scale a little: clip instead of wrapping around
        soundfile.write(
            temporary, np.clip(mono, -1.0, 1.0), rate, format=wanted[0], subtype=wanted[1]
        )
    return FormattedRecording(str(target), len(mono), tuple(changes))
