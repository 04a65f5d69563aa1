"""Recordings, pictures and figures as data URIs, small enough for twenty of them on a page."""

from __future__ import annotations

import base64
import io
import logging
from pathlib import Path

import numpy as np

MAX_SECONDS = 30.0
THUMBNAIL = 176  # pixels, twice the size at which it is shown
MAX_SVG_BYTES = 250_000


def audio_uri(path: str | Path) -> str | None:
    """A recording as MP3, which every browser plays, or as WAV where libsndfile has no MP3.

    Longer recordings than ``MAX_SECONDS`` are cut. None when it cannot be read, with a warning.
    """
    import soundfile

    if str(path).endswith("|"):
        logging.warning(f"{path}: a pipe, not a file: the report has no player for it")
        return None
    try:
        with soundfile.SoundFile(path) as recording:
            rate = recording.samplerate
            samples = recording.read(int(MAX_SECONDS * rate), dtype="float32", always_2d=True)
        samples = samples.mean(axis=1)  # (samples,)
        if "MP3" in soundfile.available_formats() and rate <= 48000:
            return _uri("audio/mpeg", _encode(samples, rate, "MP3", "MPEG_LAYER_III"))
        return _uri("audio/wav", _encode(samples, rate, "WAV", "PCM_16"))
    except (OSError, RuntimeError, ValueError) as error:
        logging.warning(f"{path} cannot be read for the report: {error}")
        return None


def picture_uri(path: str | Path) -> str | None:
    """A picture, reduced to a thumbnail: PNG when it is tiny, else JPEG."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture = picture.convert("RGB")
            buffer = io.BytesIO()
            if max(picture.size) <= 96:
                picture.save(buffer, format="PNG", optimize=True)
                return _uri("image/png", buffer.getvalue())
            side = min(picture.size)
            left, top = (picture.width - side) // 2, (picture.height - side) // 2
            square = picture.crop((left, top, left + side, top + side))
            square.thumbnail((THUMBNAIL, THUMBNAIL))
            square.save(buffer, format="JPEG", quality=82, optimize=True)
            return _uri("image/jpeg", buffer.getvalue())
    except (OSError, ValueError) as error:
        logging.warning(f"{path} cannot be read for the report: {error}")
        return None


def figure_uri(png: Path) -> str:
    """A figure: its SVG, which stays sharp, unless that is large; else its PNG."""
    svg = png.with_suffix(".svg")
    if svg.exists() and svg.stat().st_size <= MAX_SVG_BYTES:
        return _uri("image/svg+xml", svg.read_bytes())
    return _uri("image/png", png.read_bytes())


def _encode(samples: np.ndarray, rate: int, kind: str, subtype: str) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
