"""Check what visitors send, and say in one sentence what is wrong with it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import humanfriendly
import numpy as np

from espnet_plugin.apps.demo.media import file_name
from espnet_plugin.media.audio import read_header, read_mono
from espnet_plugin.media.images import read_image
from espnet_plugin.media.speech_activity import SHORTEST
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.files import MissingPackageError

if TYPE_CHECKING:
    from PIL.Image import Image
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

UPLOAD = "/gradio_api/upload"  # gradio holds what is sent there to the limit itself
SAMPLES_PER_SECOND = 2 * 192_000  # of all channels; more comes from no microphone
TEXT_LENGTH = 200


class VisitorError(ValueError):
    """An error for the demo page, which names only what was sent and not a file of this machine."""


@dataclass(frozen=True)
class Limits:
    """Limits of what visitors may send.

    Attributes:
        size: Largest size of an upload in bytes.
        seconds: Longest duration of a recording in seconds.
    """

    size: int = 10 * 2**20
    seconds: float = 60.0

    @property
    def size_text(self) -> str:
        """The size as gradio writes it, such as 10MB, in steps of 1024."""
        return humanfriendly.format_size(self.size, binary=True).replace("iB", "B")


class OnlyUploads:
    """Refuses a question that is too large, or that names a file which nobody uploaded.

    Gradio would fetch a file that has an address, whatever its size, before the page's code runs.

    Args:
        app: Application that answers the other questions.
        folder: Folder of the uploads.
        size: Largest size of a question in bytes.
    """

    def __init__(self, app: ASGIApp, *, folder: Path, size: int) -> None:
        self._app = app
        self._folder = folder
        self._size = size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses it."""
        from starlette.responses import PlainTextResponse

        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] == UPLOAD:
            await self._app(scope, receive, send)
            return
        body, more = bytearray(), True
        while more and len(body) <= self._size:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if len(body) > self._size:
            await PlainTextResponse("This is too large.", status_code=413)(scope, receive, send)
        elif not _names_only_uploads(body, self._folder):
            refusal = PlainTextResponse("Files must be uploaded first.", status_code=400)
            await refusal(scope, receive, send)
        else:
            await self._app(scope, _received(bytes(body), receive), send)


def _received(body: bytes, receive: Receive) -> Receive:
    """Hands on a body that was read, then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


def _names_only_uploads(body: bytes | bytearray, folder: Path) -> bool:
    """Whether a body is JSON whose files, ``{"path": file}``, are all in a folder."""

    def check(members: dict[str, Any]) -> dict[str, Any]:
        if "path" in members and not Path(os.path.realpath(members["path"])).is_relative_to(root):
            raise ValueError
        return members

    root = os.path.realpath(folder)
    try:
        json.loads(body, object_hook=check)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def read_sent_recording(path: str, *, limits: Limits, rate: int) -> np.ndarray:
    """Reads a recording, mono samples (samples,) at a rate in Hz, floating point in [-1, 1].

    Raises:
        VisitorError: If it cannot be read, is too long or too short.
    """
    name = file_name(path)
    try:
        header = read_header(path)
        if header.seconds > limits.seconds:
            length, most = map(humanfriendly.format_timespan, (header.seconds, limits.seconds))
            raise VisitorError(f"{name} is {length} long; at most {most} are allowed.")
        if header.num_samples * header.channels > limits.seconds * SAMPLES_PER_SECOND:
            raise VisitorError(f"{name} has too many channels, or too high a sampling rate.")
        samples = read_mono(path, rate)
    except DataError as error:
        raise _unusable("a recording", "WAV, FLAC, OGG, MP3 or M4A", error, path) from error
    seconds = len(samples) / rate
    if seconds < SHORTEST:
        raise VisitorError(
            f"{name} lasts {seconds:.2f} s, too short for a word; record at least {SHORTEST:g} s."
        )
    return samples


def read_sent_image(path: str) -> Image:
    """Decodes an image, RGB.

    Raises:
        VisitorError: If it cannot be decoded.
    """
    try:
        return read_image(path)
    except DataError as error:
        formats = "JPEG, HEIC, PNG, WebP, GIF, TIFF or BMP"
        raise _unusable("an image", formats, error, path) from error


def _unusable(kind: str, formats: str, error: DataError, path: str) -> VisitorError:
    name = file_name(path)
    if isinstance(error, MissingPackageError):
        reason = "the computer that serves this demo lacks the package that reads it"
    else:
        reason = str(error).removeprefix(f"{path}: ").replace(path, name)
    return VisitorError(f"{name} cannot be used as {kind}: {reason}. Send {formats}.")


def checked_text(text: str | None) -> str:
    """Checks a text to search for, and returns it.

    Raises:
        VisitorError: If it is empty or too long.
    """
    text = " ".join((text or "").split())
    if not text:
        raise VisitorError("Write what the image should show.")
    if len(text) > TEXT_LENGTH:
        raise VisitorError(f"This text is too long; write at most {TEXT_LENGTH} characters.")
    return text
