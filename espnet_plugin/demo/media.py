"""The images and recordings that the page shows: only those of an answer, decoded and encoded."""

from __future__ import annotations

import io
import secrets
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_plugin.data.images import read_image
from espnet_plugin.data.scp import DataError
from espnet_plugin.demo.captions import SpokenCaptions
from espnet_plugin.search.index import Hit
from espnet_plugin.search.player import wav_part

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

SIDES = {"small": 320, "large": 1280}
DECODERS = 2  # at a time: a large image takes much memory


class Media:
    """Turns files of the index and of the captions into what a browser shows.

    Encoding them again leaves out what else is in a file, such as where a photo was taken.

    Args:
        captions: Their recordings can be played.
    """

    def __init__(self, captions: SpokenCaptions | None = None) -> None:
        self.captions = captions
        self._keys: dict[str, str] = {}
        self._paths: dict[str, str] = {}
        self._parts: dict[str, Hit] = {}
        self._decoding = threading.Semaphore(DECODERS)

    def offer(self, path: str) -> dict[str, str]:
        """The key that serves an image from now on, which nobody can guess, and its name."""
        key = self._keys.setdefault(path, secrets.token_hex(16))
        self._paths[key] = path
        return {"key": key, "name": _shown(path)}

    def offer_part(self, hit: Hit) -> dict[str, str]:
        """The key that serves a window of a recording from now on, and the file's name."""
        key = self._keys.setdefault(f"{hit.path}/{hit.start}", secrets.token_hex(16))
        self._parts[key] = hit
        return {"key": key, "name": _shown(hit.path)}

    def part(self, key: str) -> bytes:
        """A window of a recording as WAV, mono.

        Raises:
            KeyError: If there is no such key.
            DataError: If the file is gone or damaged.
        """
        hit = self._parts[key]
        with self._decoding:
            return wav_part(hit.path, hit.start, hit.end)

    def path(self, key: object) -> str:
        """The file of a key.

        Raises:
            KeyError: If no answer had it.
        """
        return self._paths[str(key)]

    def image(self, key: str, size: str) -> bytes:
        """An image as JPEG.

        Args:
            key: From :meth:`offer`.
            size: ``small`` or ``large``.

        Raises:
            KeyError: If there is no such key or size.
            DataError: If the file is gone or damaged.
        """
        path, side = self.path(key), SIDES[size]
        with self._decoding:
            image = read_image(path)
            image.thumbnail((side, side))
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=88)
        return stream.getvalue()

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


def _shown(path: str) -> str:
    """A file's name; not every one is UTF-8."""
    return Path(path).name.encode(errors="surrogateescape").decode(errors="replace")
