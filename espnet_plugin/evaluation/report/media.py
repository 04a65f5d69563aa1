"""Recordings, images and figures as data URIs, which make the page a single file."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable
from pathlib import Path

from espnet_plugin.media.audio import read_header, read_mono
from espnet_plugin.media.images import read_image

MAX_SECONDS = 30.0
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # Hz
THUMBNAIL = 176  # pixels, twice the size at which it is shown

Encoder = Callable[[str], tuple[str, bytes]]


def encode_recording(path: str) -> tuple[str, bytes]:
    """Encodes a recording as MP3, or as WAV if MP3 does not have its rate or libsndfile no MP3.

    It is cut after ``MAX_SECONDS``.

    Returns:
        The media type and the content.

    Raises:
        DataError: If it cannot be read.
    """
    import soundfile

    rate = read_header(path).rate
    samples = read_mono(path, rate, end=MAX_SECONDS)
    mp3 = "MP3" in soundfile.available_formats() and rate in MP3_RATES
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="MP3" if mp3 else "WAV")
    return "audio/mpeg" if mp3 else "audio/wav", buffer.getvalue()


def encode_image(path: str) -> tuple[str, bytes]:
    """Reduces an image to a thumbnail, as PNG if it is tiny and otherwise as JPEG.

    Returns:
        The media type and the content.

    Raises:
        OSError, ValueError: If it cannot be read.
    """
    from PIL import ImageOps

    image = read_image(path)
    buffer = io.BytesIO()
    if max(image.size) <= 96:
        image.save(buffer, format="PNG", optimize=True)
        return "image/png", buffer.getvalue()
    square = ImageOps.fit(image, (THUMBNAIL, THUMBNAIL))
    square.save(buffer, format="JPEG", quality=82, optimize=True)
    return "image/jpeg", buffer.getvalue()


def media_uri(path: str, encode: Encoder) -> str | None:
    """A file as a data URI; if it cannot be read, warns and returns None."""
    try:
        return _uri(*encode(path))
    except (OSError, RuntimeError, ValueError) as error:
        logging.warning(f"{path} cannot be read for the report: {error}")
        return None


def figure_uri(svg: Path) -> str:
    """A figure as data URI."""
    return _uri("image/svg+xml", svg.read_bytes())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
