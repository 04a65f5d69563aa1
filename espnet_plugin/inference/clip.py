"""The CLIP that a user chose, and its embeddings of texts and images."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from espnet_plugin.media.images import read_image
from espnet_plugin.pretrained.storage import load_clip
from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.utils.progress import progress

if TYPE_CHECKING:
    from PIL.Image import Image

TEXT_BATCH = 256


def chosen_clip(options: Namespace, **towers: bool) -> FrozenCLIP:
    """The CLIP of a trained model, or else of a name and weights of open_clip.

    Args:
        options: Options that :func:`~espnet_plugin.utils.command.add_clip_arguments` adds.
        **towers: Arguments of :class:`FrozenCLIP` that say which towers to keep.
    """
    if (options.model is None) == (options.clip_model is None):
        raise ValueError("give either --model_tag or --clip_model")
    if options.model is not None:
        return load_clip(options.model, **towers, trust_remote_code=options.trust_remote_code)
    return FrozenCLIP(model=options.clip_model, pretrained=options.clip_pretrained, **towers)


def embed_texts(clip: FrozenCLIP, texts: Sequence[str], *, description: str) -> np.ndarray:
    """Embeddings of texts, float32, L2-normalised, (texts, dim)."""
    starts = range(0, len(texts), TEXT_BATCH)
    parts = [
        clip.encode_texts(texts[start : start + TEXT_BATCH]).float().cpu().numpy()
        for start in progress(starts, description=description, unit="batch")
    ]
    return np.concatenate(parts)


def read_pixels(
    preprocess: Callable[[Image], Tensor], image: str | Path | Image | np.ndarray
) -> Tensor:
    """Reads an image and brings it to CLIP's size, (3, height, width).

    Args:
        preprocess: Method ``preprocess`` of a CLIP, which goes to the processes that read.
        image: An image in a form that :func:`espnet_plugin.media.images.read_image` takes.
    """
    return preprocess(read_image(image))


@torch.no_grad()
def embed_pixels(clip: FrozenCLIP, pixels: Sequence[Tensor]) -> np.ndarray:
    """Embeddings of images from :func:`read_pixels`, float32, L2-normalised, (images, dim)."""
    device = next(clip.parameters()).device
    return clip.encode_images(torch.stack(list(pixels)).to(device)).float().cpu().numpy()
