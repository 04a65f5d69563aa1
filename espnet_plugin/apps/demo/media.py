"""Serve the images and recordings of answers, without the other data in their files."""

from __future__ import annotations

import math
import secrets
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espnet_plugin.media.formats import wav_part
from espnet_plugin.media.images import read_image
from espnet_plugin.utils.errors import DataError

if TYPE_CHECKING:
    from starlette.routing import Route

SIDE = 960  # pixels of an image's longer side
DECODERS = 2  # at a time: a long recording takes much memory


def file_name(path: str) -> str:
    """The last part of a path as readable text, even if the name is not valid UTF-8."""
    return Path(path).name.encode(errors="surrogateescape").decode(errors="replace")


def pixels(path: str) -> np.ndarray:
    """An image for the gallery, (height, width, 3), 8 bits.

    Of a file or of an open image, gradio hands on what else is in it, such as where it was
    taken.

    Raises:
        DataError: If the file is gone or damaged.
    """
    image = read_image(path)
    image.thumbnail((SIDE, SIDE))
    return np.asarray(image)


class Recordings:
    """Plays recordings of answers, and windows of them, by keys that nobody can guess."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, float, float], str] = {}
        self._offered: dict[str, tuple[str, float, float]] = {}
        self._decoding = threading.Semaphore(DECODERS)

    def offer(self, path: str, start: float = 0.0, end: float = math.inf) -> str:
        """The key that plays a file, or a window of it in seconds, from now on."""
        window = (path, start, end)
        key = self._keys.setdefault(window, secrets.token_hex(16))
        self._offered[key] = window
        return key

    def route(self) -> Route:
        """Answers ``/recordings/KEY`` with the samples as a mono WAV file."""
        from starlette.requests import Request
        from starlette.responses import PlainTextResponse, Response
        from starlette.routing import Route

        def answer(request: Request) -> Response:
            try:
                with self._decoding:
                    content = wav_part(*self._offered[request.path_params["key"]])
            except (KeyError, DataError):
                return PlainTextResponse("There is no such file.", status_code=404)
            keep = {"cache-control": "private, max-age=3600"}
            return Response(content, media_type="audio/wav", headers=keep)

        return Route("/recordings/{key}", answer)
