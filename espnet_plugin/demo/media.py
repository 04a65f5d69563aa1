"""The images and recordings that the page shows: only those of an answer, decoded and encoded."""

from __future__ import annotations

import io
import secrets
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from espnet_plugin.data.images import read_image
from espnet_plugin.data.scp import DataError
from espnet_plugin.demo.captions import SpokenCaptions
from espnet_plugin.search.player import wav_part

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

SIDES = {"small": 320, "large": 1280}
DECODERS = 2  # at a time: a large image takes much memory


class Media:
    """Turns files of the index and of the captions into what a browser shows.

    Only pixels and samples are handed on, not what else is in a file, such as where a photo was
    taken.

    Args:
        captions: Their recordings can be played.
    """

    def __init__(self, captions: SpokenCaptions | None = None) -> None:
        self.captions = captions
        self._keys: dict[tuple[Any, ...], str] = {}
        self._offered: dict[str, tuple[Any, ...]] = {}  # path, and a window's start and end
        self._decoding = threading.Semaphore(DECODERS)

    def offer(self, path: str, *span: float) -> dict[str, str]:
        """The key that serves a file from now on, which nobody can guess, and the file's name.

        Args:
            path: An image or a recording.
            *span: Start and end of a recording's window in seconds.
        """
        key = self._keys.setdefault((path, *span), secrets.token_hex(16))
        self._offered[key] = (path, *span)
        # not every name is UTF-8
        name = Path(path).name.encode(errors="surrogateescape").decode(errors="replace")
        return {"key": key, "name": name}

    def path(self, key: object) -> str:
        """The file of a key.

        Raises:
            KeyError: If no answer had it.
        """
        return self._offered[str(key)][0]

    def image(self, key: str, size: str) -> bytes:
        """An image as JPEG.

        Args:
            key: From :meth:`offer`.
            size: ``small`` or ``large``.

        Raises:
            KeyError: If there is no such key or size.
            DataError: If the file is gone or damaged.
        """
        from PIL import Image

        path, side = self.path(key), SIDES[size]
        with self._decoding:
            image = read_image(path)
            image.thumbnail((side, side))
            stream = io.BytesIO()
            # pixels alone: Pillow keeps a file's comment and writes it back
            Image.fromarray(np.asarray(image)).save(stream, "JPEG", quality=88)
        return stream.getvalue()

    def part(self, key: str) -> bytes:
        """A window of a recording as WAV, mono; raises as :meth:`image`."""
        with self._decoding:
            return wav_part(*self._offered[key])

    def recording(self, position: int) -> bytes:
        """The recording of the caption at a position, as WAV, mono.

        Raises:
            KeyError: If there is none.
            DataError: If the file is gone or damaged.
        """
        if self.captions is None or not 0 <= position < len(self.captions.captions):
            raise KeyError(position)
        with self._decoding:
            return wav_part(self.captions.captions[position].recording)

    def routes(self) -> list[BaseRoute]:
        """``/images/KEY/SIZE``, ``/parts/KEY`` and ``/recordings/POSITION``."""
        from starlette.responses import PlainTextResponse, Response
        from starlette.routing import Route

        def answer(request: Request) -> Response:
            try:
                if "size" in request.path_params:
                    content, kind = self.image(**request.path_params), "image/jpeg"
                elif "key" in request.path_params:
                    content, kind = self.part(**request.path_params), "audio/wav"
                else:
                    content, kind = self.recording(**request.path_params), "audio/wav"
            except (KeyError, DataError):
                return PlainTextResponse("There is no such file.", status_code=404)
            keep = {"cache-control": "private, max-age=3600"}
            return Response(content, media_type=kind, headers=keep)

        return [
            Route("/images/{key}/{size}", answer),
            Route("/parts/{key}", answer),
            Route("/recordings/{position:int}", answer),
        ]
