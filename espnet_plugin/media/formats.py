"""Bring a recording, or a part of it, to another format."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_plugin.media.audio import read_audio, read_header, read_mono, resampled
from espnet_plugin.media.speech_activity import SILENT
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.errors import DataError

FORMATS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16")}


@dataclass(frozen=True)
class FormattedRecording:
    """A file that is ready for training.

    Attributes:
        path: Path of the file.
        num_samples: Number of samples in it.
        changes: What had to be done to it, as a report counts it.
    """

    path: str
    num_samples: int
    changes: tuple[str, ...] = ()


def parse_rate(text: str | int) -> int:
    """Reads a sampling rate such as ``16000`` or ``16k`` in Hz."""
    import humanfriendly

    try:
        return int(humanfriendly.parse_size(str(text)))
    except humanfriendly.InvalidSize as error:
        raise DataError(f"--fs {text}: not a sampling rate; write 16k or 16000") from error


def format_recording(
    source: str, target: Path, *, rate: int, audio_format: str
) -> FormattedRecording:
    """Writes ``target`` from ``source``, or returns the source if it already has the right form.

    Channels are averaged, other rates are resampled (soxr, high quality), and samples are stored in
    16 bits.

    Args:
        source: Path of the recording.
        target: Path for a converted recording.
        rate: Wanted sampling rate in Hz.
        audio_format: Format of converted recordings, ``wav`` or ``flac``.

    Raises:
        DataError: If the recording cannot be used, see ``read_audio``.
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
    if not changes and audio.kind != wanted:
        changes.append(f"converted from {' '.join(audio.kind)}")
    silent = ["silent, but used"] if np.abs(audio.samples).max() < SILENT else []
    if not changes:
        return FormattedRecording(source, len(audio.samples), ("used as they are", *silent))
    mono = resampled(audio.mono, audio.rate, rate)
    if len(mono) == 0:
        raise DataError("shorter than one sample after resampling")
    with atomic_path(target) as temporary:
        # resampling may exceed full scale a little: clip instead of wrapping around
        soundfile.write(
            temporary, np.clip(mono, -1.0, 1.0), rate, format=wanted[0], subtype=wanted[1]
        )
    return FormattedRecording(str(target), len(mono), (*changes, *silent))


def wav_part(path: str, start: float = 0.0, end: float = math.inf) -> bytes:
    """A recording between two times in seconds as WAV, mono.

    Raises:
        DataError: If the file is gone or damaged.
    """
    import soundfile

    rate, stream = read_header(path).rate, io.BytesIO()
    mono = np.clip(read_mono(path, rate, start=start, end=end), -1.0, 1.0)
    soundfile.write(stream, mono, rate, format="WAV", subtype="PCM_16")
    return stream.getvalue()
