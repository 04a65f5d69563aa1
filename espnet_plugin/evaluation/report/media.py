"""Recordings, images and figures for a browser, inside the page or beside it."""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from espnet_plugin.data.images import read_image
from espnet_plugin.evaluation.figures import colours
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.progress import progress

MAX_SECONDS = 30.0
THUMBNAIL = 176  # pixels, twice the size at which it is shown
MAX_SVG_BYTES = 400_000
_UNREADABLE = (OSError, RuntimeError, ValueError)
_SUFFIXES = {
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "image/png": ".png",
    "image/jpeg": ".jpg",
}
_OURS = re.compile(r"[0-9a-f]{16}\.(mp3|wav|png|jpg)")
# End of an SVG file. matplotlib writes every colour into the element's own style.
_IN_THE_DARK = (
    "<style>@media (prefers-color-scheme:dark){"
    + "".join(
        f'[style*="{what}: {light.lower()}"]{{{what}:{dark}!important}}'
        for light, dark in colours.IN_THE_DARK.items()
        for what in ("fill", "stroke")
    )
    + "image{filter:invert(.9) hue-rotate(180deg)}"
    + "}</style></svg>"
)

Encoder = Callable[[str], tuple[str, bytes]]


def encode_recording(path: str) -> tuple[str, bytes]:
    """A recording as MP3, or as WAV if libsndfile has no MP3.

    It is cut after ``MAX_SECONDS``.

    Returns:
        Media type and content.

    Raises:
        OSError, RuntimeError, ValueError: It cannot be read.
    """
    import soundfile

    if path.endswith("|"):
        raise ValueError("a pipe, not a file")
    with soundfile.SoundFile(path) as recording:
        rate = recording.samplerate
        samples = recording.read(int(MAX_SECONDS * rate), dtype="float32", always_2d=True)
    samples = samples.mean(axis=1)  # (samples,)
    if "MP3" in soundfile.available_formats() and rate <= 48000:
        return "audio/mpeg", _encode(samples, rate, "MP3", "MPEG_LAYER_III")
    return "audio/wav", _encode(samples, rate, "WAV", "PCM_16")


def encode_image(path: str) -> tuple[str, bytes]:
    """An image, reduced to a thumbnail: PNG if it is tiny, else JPEG.

    Returns:
        Media type and content.

    Raises:
        OSError, ValueError: It cannot be read.
    """
    image = read_image(path)
    buffer = io.BytesIO()
    if max(image.size) <= 96:
        image.save(buffer, format="PNG", optimize=True)
        return "image/png", buffer.getvalue()
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    square.thumbnail((THUMBNAIL, THUMBNAIL))
    square.save(buffer, format="JPEG", quality=82, optimize=True)
    return "image/jpeg", buffer.getvalue()


def media_uri(path: str, encode: Encoder) -> str | None:
    """A file as data URI; None when it cannot be read, with a warning."""
    try:
        return _uri(*encode(path))
    except _UNREADABLE as error:
        logging.warning(f"{path} cannot be read for the report: {error}")
        return None


def write_media(paths: Iterable[str], folder: Path, encode: Encoder) -> dict[str, str]:
    """Encodes files into a folder; those that are there already stay.

    Args:
        paths: The files, in which one may occur several times.
        folder: Folder to write to. A name is a digest of the file's path, size and time.
        encode: ``encode_recording`` or ``encode_image``.

    Returns:
        Path → name in the folder. What cannot be read is left out, with one warning for all.
    """
    there = {file.stem: file.name for file in _ours(folder)}
    names: dict[str, str] = {}
    bad: list[str] = []
    for path in progress(list(dict.fromkeys(paths)), description=folder.name, unit="files"):
        try:
            digest = _digest(path)
            if digest not in there:
                kind, content = encode(path)
                there[digest] = digest + _SUFFIXES[kind]
                with atomic_path(folder / there[digest]) as temporary:
                    temporary.write_bytes(content)
            names[path] = there[digest]
        except _UNREADABLE as error:
            bad.append(f"{path}: {error}")
    if bad:
        logging.warning(f"{len(bad)} files cannot be read for the report, the first is {bad[0]}")
    return names


def remove_unused(folder: Path, used: Iterable[str]) -> None:
    """Removes what ``write_media`` wrote earlier and no page shows any more."""
    kept = set(used)
    for file in _ours(folder):
        if file.name not in kept:
            file.unlink()


def figure_uri(png: Path) -> str:
    """A figure: its SVG, which is sharp and follows dark mode; the PNG if the SVG is large.

    Args:
        png: The figure, with an SVG beside it.
    """
    svg = png.with_suffix(".svg")
    if svg.exists() and svg.stat().st_size <= MAX_SVG_BYTES:
        drawing = svg.read_text(encoding="utf-8")
        return _uri("image/svg+xml", _IN_THE_DARK.join(drawing.rsplit("</svg>", 1)).encode())
    return _uri("image/png", png.read_bytes())


def _ours(folder: Path) -> list[Path]:
    files = folder.iterdir() if folder.is_dir() else ()
    return [file for file in files if _OURS.fullmatch(file.name)]


def _encode(samples: np.ndarray, rate: int, kind: str, subtype: str) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def _digest(path: str) -> str:
    facts = Path(path).stat()
    name = f"{path} {facts.st_size} {facts.st_mtime_ns} {MAX_SECONDS} {THUMBNAIL}"
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
