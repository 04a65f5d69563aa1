"""Embeddings of pictures by the frozen CLIP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from espnet_plugin.data.array_store import ArrayStore
from espnet_plugin.data.images import read_picture
from espnet_plugin.inference.dump import dump_arrays
from espnet_plugin.speechclip.clip import FrozenCLIP

if TYPE_CHECKING:
    from PIL.Image import Image


def dump_image_embeddings(
    pictures: Mapping[str, str],
    clip: FrozenCLIP,
    store: ArrayStore,
    *,
    batch_size: int = 64,
    num_workers: int = 0,
) -> dict[str, str]:
    """Embeds the pictures that have no embedding yet.

    Args:
        pictures: Image id → file.
        clip: With its image tower.
        store: Where the embeddings go, float32 (dim,), L2-normalised.
        batch_size: Pictures at a time.
        num_workers: Processes that decode pictures.

    Returns:
        Image id → reason of the pictures that could not be read; they are skipped.
    """
    device = next(clip.parameters()).device

    @torch.no_grad()
    def encode(pixels: list[Tensor]) -> np.ndarray:
        embeddings = clip.encode_images(torch.stack(pixels).to(device))  # (batch, dim)
        return embeddings.float().cpu().numpy()

    todo = store.missing(pictures)
    return dump_arrays(
        pictures,
        store,
        batches=[todo[start : start + batch_size] for start in range(0, len(todo), batch_size)],
        read=partial(_read, clip.preprocess),
        encode=encode,
        num_workers=num_workers,
        what="images",
    )


def _read(preprocess: Callable[[Image], Tensor], path: str) -> Tensor:
    return preprocess(read_picture(path))
