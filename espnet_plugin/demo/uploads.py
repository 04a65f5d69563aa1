"""What visitors send: kept for a while, bounded, and read with a sentence for whatever is wrong."""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import humanfriendly
import numpy as np

from espnet_plugin.data.audio import read_audio, read_header, resampled
from espnet_plugin.data.files import MissingPackageError
from espnet_plugin.data.images import open_image, read_image
from espnet_plugin.data.scp import DataError
from espnet_plugin.inference.utterance import SHORTEST

if TYPE_CHECKING:
    from PIL.Image import Image

KEPT = 64
SAMPLES_PER_SECOND = 2 * 192_000  # of all channels; more comes from no microphone
PIXELS = 50_000_000
TEXT_LENGTH = 200


class VisitorError(ValueError):
    """A sentence for the page; it names no file of this machine."""


@dataclass(frozen=True)
class Limits:
    """What is taken at most.

    Attributes:
        size: Bytes of an upload.
        seconds: Duration of a recording.
    """

    size: int = 10 * 2**20
    seconds: float = 60.0

    @property
    def size_text(self) -> str:
        """The size as gradio writes it, too: in steps of 1024, as MB."""
        return humanfriendly.format_size(self.size, binary=True).replace("iB", "B")


class Uploads:
    """The last files that visitors sent, under names that nobody can guess.

    Args:
        directory: Where they lie; nothing else does.
        limits: Of one file.
        kept: Of how many; the oldest make room.
    """

    def __init__(self, directory: Path, *, limits: Limits, kept: int = KEPT) -> None:
        self.directory = directory
        self.limits = limits
        self.kept = kept
        self._names: OrderedDict[str, None] = OrderedDict()

    def add(self, content: bytes, *, name: str) -> str:
        """Keeps a file; returns its name here.

        Args:
            content: Its bytes.
            name: What the visitor calls it; only the suffix is used.

        Raises:
            VisitorError: When it is too large.
        """
        if len(content) > self.limits.size:
            raise VisitorError(self.too_large)
        suffix = Path(name).suffix.lower()
        own = secrets.token_hex(16) + (suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else "")
        (self.directory / own).write_bytes(content)
        self._names[own] = None
        while len(self._names) > self.kept:
            oldest, _ = self._names.popitem(last=False)
            (self.directory / oldest).unlink(missing_ok=True)
        return own

    @property
    def too_large(self) -> str:
        """What is said about a file beyond the limit."""
        return f"This file is larger than {self.limits.size_text}."

    def path(self, name: object) -> Path:
        """Where a file lies that :meth:`add` named; folders before the name do not count.

        Raises:
            VisitorError: When there is none of that name, or no longer.
        """
        name = Path(str(name)).name
        if name not in self._names:
            raise VisitorError("This upload is no longer here; please choose the file again.")
        return self.directory / name


def read_clip(path: Path, *, limits: Limits, rate: int) -> np.ndarray:
    """Reads a recording, mono samples (samples,) at a rate in Hz, floating point in [-1, 1].

    Raises:
        VisitorError: When it cannot be read, is too long or too short.
    """
    try:
        header = read_header(str(path))
        seconds, total = header.seconds, header.num_samples * header.channels
    except MissingPackageError as error:
        raise VisitorError(
            "M4A files need PyAV on the computer that serves this page (pip install av); "
            "WAV, FLAC, OGG and MP3 files can be read."
        ) from error
    except DataError as error:
        raise VisitorError(
            "This is no recording that can be read; WAV, FLAC, OGG, MP3 and M4A files can."
        ) from error
    if seconds > limits.seconds:
        length, most = map(humanfriendly.format_timespan, (round(seconds, 1), limits.seconds))
        length = "endless" if seconds > 1e6 else f"{length} long"
        raise VisitorError(f"This recording is {length}; at most {most} are listened to.")
    if total > limits.seconds * SAMPLES_PER_SECOND:
        raise VisitorError("This recording has too many channels, or too high a sampling rate.")
    try:
        audio = read_audio(str(path))
    except DataError as error:
        reason = str(error).replace(str(path), "it")
        raise VisitorError(f"This recording cannot be used: {reason}.") from error
    mono = audio.mono
    seconds = len(mono) / audio.rate
    if seconds < SHORTEST:
        raise VisitorError(
            f"This recording lasts {seconds:.2f} s, too short for a word; "
            f"{SHORTEST:g} s are the least."
        )
    return resampled(mono, audio.rate, rate)


def read_sent_picture(path: Path) -> Image:
    """Decodes a picture, RGB.

    Raises:
        VisitorError: When it cannot be decoded, or has too many pixels.
    """
    from PIL import Image

    try:
        with open_image(path) as header:
            width, height = header.size
        if width * height > PIXELS:
            raise VisitorError(
                f"This picture has {width} × {height} pixels; {PIXELS // 1_000_000} million are "
                "the most."
            )
        return read_image(path)
    except MissingPackageError as error:
        raise VisitorError(
            "HEIC files need pillow-heif on the computer that serves this page "
            "(pip install pillow-heif); JPEG, PNG, WebP, GIF, TIFF and BMP files can be read."
        ) from error
    except (OSError, SyntaxError, Image.DecompressionBombError, DataError) as error:
        raise VisitorError(
            "This is no picture that can be read; JPEG, HEIC, PNG, WebP, GIF, TIFF and BMP files "
            "can."
        ) from error


def checked_text(text: str | None) -> str:
    """A text to search for.

    Raises:
        VisitorError: When there is none, or it is long.
    """
    text = " ".join((text or "").split())
    if not text:
        raise VisitorError("Write what the picture should show.")
    if len(text) > TEXT_LENGTH:
        raise VisitorError(f"This text is long; at most {TEXT_LENGTH} characters are read.")
    return text
