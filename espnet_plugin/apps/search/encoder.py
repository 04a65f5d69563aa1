"""Embed images, and windows of recordings, as vectors of one space."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from espnet_plugin.apps.search.catalog import Window
from espnet_plugin.apps.search.model import IndexedModel
from espnet_plugin.data.words import later
from espnet_plugin.inference.clip import embed_pixels, read_pixels
from espnet_plugin.media.audio import read_mono
from espnet_plugin.pretrained.storage import load_clip
from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.utils.device import torch_device
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.progress import progress

if TYPE_CHECKING:
    from espnet_plugin.data.words import SpokenWord
    from espnet_plugin.inference.speechclip import SpeechCLIP


class ClipEncoder:
    """The image tower of a model's CLIP, loaded when the first image comes.

    Args:
        model: Name or path of a model that :func:`load_clip` takes.
        device: Torch device, by default a GPU if there is one.
        trust_remote_code: Whether you trust the model's author, see :func:`load_speechclip`.
    """

    def __init__(
        self, model: str, *, device: str | None = None, trust_remote_code: bool = False
    ) -> None:
        self.model = model
        self.trust_remote_code = trust_remote_code
        self.device = torch_device(device)
        self._loaded: FrozenCLIP | None = None
        self._loading = threading.Lock()

    @property
    def _clip(self) -> FrozenCLIP:
        with self._loading:  # several threads read images
            if self._loaded is None:
                clip = load_clip(
                    self.model, text_tower=False, trust_remote_code=self.trust_remote_code
                )
                self._loaded = clip.to(self.device)
            return self._loaded

    def read(self, path: str) -> Tensor:
        """Decodes an image and brings it to CLIP's size, (3, height, width)."""
        return read_pixels(self._clip.preprocess, path)

    def encode(self, images: Sequence[Tensor]) -> np.ndarray:
        """Unit-length embeddings, float32, (images, dim)."""
        return embed_pixels(self._clip, images)


def embed_recording(model: SpeechCLIP, path: str) -> tuple[np.ndarray, list[Window]]:
    """Embeds a recording's windows at unit length, (windows, dim), and returns the windows too.

    They are embedded as :meth:`SpeechCLIP.encode_speech` embeds a query. Windows are as long as the
    model's keywords reach, at most 10 s, and have their keywords.

    Raises:
        DataError: If the recording cannot be read, is silent or white noise, or has too little
            speech for a word.
    """
    rate, rows, windows = model.sampling_rate, [], []
    try:
        samples = read_mono(path, rate)
        places = model.windows(samples)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    for first, last in progress(places, description=path, unit="window"):
        window = {"array": samples[first:last], "sampling_rate": rate, "path": path}
        result = model(window, start=first / rate)
        rows.append(model.row(result))
        words = later(model.words(result), seconds=first / rate)
        windows.append(Window(first / rate, last / rate, tuple(words)))
    return np.array(rows), windows


def words_of_file(model: SpeechCLIP, path: str) -> list[SpokenWord]:
    """Words of a recording, the same that an index keeps; errors are of :func:`embed_recording`."""
    _, windows = embed_recording(model, path)
    return [word for window in windows for word in window.words]


@lru_cache(maxsize=1)
def load_encoders(
    model: IndexedModel, *, device: str | None = None, trust_remote_code: bool = False, **rest: Any
) -> dict[str, Any]:
    """Makes the encoders of images and recordings, which load their models at first use."""
    from espnet_plugin.inference.speechclip import SpeechCLIP

    options: dict[str, Any] = {"device": device, "trust_remote_code": trust_remote_code}
    load = cache(partial(SpeechCLIP.from_pretrained, model.name, **options, **rest))
    return {
        "encoder": ClipEncoder(model.name, **options),
        "embed_recording": lambda path: embed_recording(load(), path),
    }
