"""Embeddings of images by the frozen CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from espnet_plugin.data.array_store import ArrayStore
from espnet_plugin.inference.clip import embed_pixels, read_pixels
from espnet_plugin.inference.dump import dump_arrays
from espnet_plugin.teachers.clip import FrozenCLIP


def dump_image_embeddings(
    images: Mapping[str, str],
    clip: FrozenCLIP,
    store: ArrayStore,
    *,
    batch_size: int = 64,
    num_workers: int = 0,
) -> dict[str, str]:
    """Embeds the images that have no embedding yet.

    Args:
        images: Image id → file.
        clip: With its image tower.
        store: For the embeddings, float32 (dim,), L2-normalised.
        batch_size: Images at a time.
        num_workers: Processes that decode images.

    Returns:
        Image id → reason, of unreadable images, which are skipped.
    """
    todo = store.missing(images)
    return dump_arrays(
        images,
        store,
        batches=[todo[start : start + batch_size] for start in range(0, len(todo), batch_size)],
        read=partial(read_pixels, clip.preprocess),
        encode=partial(embed_pixels, clip),
        num_workers=num_workers,
        what="images",
        smaller="--batch_size",
    )
