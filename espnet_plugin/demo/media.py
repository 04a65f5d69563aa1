"""The pictures and recordings that the page shows: only what an answer has named, decoded anew."""

from __future__ import annotations

import hashlib
import io
import secrets
import threading
from collections import OrderedDict
from functools import lru_cache

import numpy as np

from espnet_plugin.data.audio import read_audio
from espnet_plugin.data.images import read_image
from espnet_plugin.demo.captions import SpokenCaptions

SIDES = {"small": 320, "large": 1280}
KNOWN = 10_000
CACHED = 256
DECODERS = 2  # at a time: a large picture takes much memory


class Media:
    """Turns files of the index and of the captions into what a browser shows.

    Pictures and recordings are decoded and encoded again: nothing else that lies in a file (where a
    photograph was taken, another file under a wrong name) leaves the machine.

    Args:
        captions: Whose recordings can be heard.
    """

    def __init__(self, captions: SpokenCaptions | None = None) -> None:
        self.captions = captions
        self._secret = secrets.token_bytes(16)
        self._paths: OrderedDict[str, str] = OrderedDict()
        self._guard = threading.Lock()
        self._decoding = threading.Semaphore(DECODERS)
        self._cached = lru_cache(maxsize=CACHED)(self._encode)

    def key_of(self, path: str) -> str:
        """The key that a picture is fetched by from now on."""
        text = path.encode(errors="surrogateescape")
        key = hashlib.blake2b(text, key=self._secret, digest_size=16).hexdigest()
        with self._guard:
            self._paths[key] = path
            self._paths.move_to_end(key)
            while len(self._paths) > KNOWN:
                self._paths.popitem(last=False)
        return key

    def path(self, key: object) -> str:
        """The file of a key.

        Raises:
            KeyError: When no answer named it.
        """
        with self._guard:
            return self._paths[str(key)]

    def picture(self, key: str, size: str) -> bytes:
        """A picture as JPEG.

        Args:
            key: From :meth:`key_of`.
            size: ``small`` or ``large``.

        Raises:
            KeyError: When no answer named it, or there is no such size.
            DataError: When the file is gone or damaged.
        """
        return self._cached(self.path(key), SIDES[size])

    def _encode(self, path: str, side: int) -> bytes:
        with self._decoding:
            picture = read_image(path)
            picture.thumbnail((side, side))
            stream = io.BytesIO()
            picture.save(stream, "JPEG", quality=88)
        return stream.getvalue()

    def recording(self, position: int) -> bytes:
        """A caption's recording as WAV, mono.

        Raises:
            KeyError: When there is none.
            DataError: When the file is gone or damaged.
        """
        import soundfile

        if self.captions is None or not 0 <= position < len(self.captions.captions):
            raise KeyError(position)
        with self._decoding:
            audio = read_audio(self.captions.captions[position].recording)
            stream = io.BytesIO()
            mono = np.clip(audio.mono, -1.0, 1.0)
            soundfile.write(stream, mono, audio.rate, format="WAV", subtype="PCM_16")
        return stream.getvalue()
