"""Image embedding: photographs from files, by the frozen CLIP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import Row, Settings, by_turns
from benchmarks.random_models import tiny_clip

SECONDS = 45


def rows(settings: Settings) -> Iterator[Row]:
    """A batch of photographs of Flickr8k's size."""
    from espnet_plugin.data.array_store import ArrayStore
    from espnet_plugin.inference.clip import embed_pixels, read_pixels
    from espnet_plugin.inference.image_embeddings import dump_image_embeddings
    from espnet_plugin.speechclip.clip import FrozenCLIP

    number = 2 if settings.quick else 32
    pictures = photographs(settings.work_dir, number)
    name = str(tiny_clip(settings.work_dir)) if settings.quick else "ViT-B-32"
    clip = FrozenCLIP(model=name, pretrained="random", text_tower=False)
    pixels = [read_pixels(clip.preprocess, path) for path in pictures.values()]
    calls = 0

    def ours() -> None:
        """Into a new store each time, or there would be nothing to do."""
        nonlocal calls
        calls += 1
        store = ArrayStore(settings.work_dir / str(calls), pictures, maker={"model": "random"})
        dump_image_embeddings(pictures, clip, store)

    def obvious() -> None:
        for path in pictures.values():
            embed_pixels(clip, [read_pixels(clip.preprocess, path)])

    with torch.no_grad():
        times = by_turns(
            {"ours": ours, "baseline": obvious, "bound": lambda: embed_pixels(clip, pixels)},
            turns=settings.turns,
            seconds=45,
        )
    yield Row(
        f"ViT-B/32: {number} JPEG files of 500 × 375, stored",
        **times,
        baseline_is="one after the other, not stored",
        bound_is="the tower alone, without reading",
    )


def photographs(directory: Path, number: int) -> Mapping[str, str]:
    """JPEG files with the detail of photographs, by id."""
    from PIL import Image

    rng = np.random.default_rng(0)
    pictures = {}
    for n in range(number):
        coarse = Image.fromarray(rng.integers(0, 255, (47, 63, 3), dtype=np.uint8))
        path = directory / f"{n}.jpg"
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
        pictures[str(n)] = str(path)
    return pictures
