"""Images as rows of the space that a model puts speech into."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from espnet_plugin.inference.clip import embed_pixels, read_pixels
from espnet_plugin.pretrained.storage import load_clip
from espnet_plugin.speechclip.clip import FrozenCLIP
from espnet_plugin.utils.device import torch_device


class ClipEncoder:
    """The image tower of a model's CLIP, loaded when the first image comes.

    Args:
        model: Whatever :func:`load_clip` takes.
        device: Torch device; None: a GPU where there is one.
        trust_remote_code: As for :func:`load_clip`.
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
