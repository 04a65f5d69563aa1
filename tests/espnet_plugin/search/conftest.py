from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from espnet_plugin.data.images import read_image
from espnet_plugin.search.model import IndexedModel
from espnet_plugin.search.update import Update, update_index

MODEL = IndexedModel("small", "a" * 64)


@dataclass
class PixelEncoder:
    """The pixels of a small picture as its embedding; the files that were decoded are noted."""

    read_files: list[str] = field(default_factory=list)
    fail_after: int | None = None  # batches
    batches: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, path: str) -> np.ndarray:
        picture = read_image(path).resize((4, 4))
        with self.lock:
            self.read_files.append(path)
        return np.asarray(picture, np.float32).ravel() - 127

    def encode(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        if self.fail_after is not None and self.batches >= self.fail_after:
            raise KeyboardInterrupt
        self.batches += 1
        rows = np.stack(pictures)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def picture(path: Path, seed: int) -> Path:
    """An image that differs from others by its seed."""
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)
    return path


def update(directory: Path, *folders: Path, **options) -> Update:
    options = {"model": MODEL, "encoder": PixelEncoder(), "batch_size": 2, **options}
    return update_index(directory, folders, **options)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of seven pictures, in PNG and JPEG."""
    folder = tmp_path / "pictures"
    for seed in range(7):
        picture(folder / f"sub{seed % 2}" / f"{seed}.{'png' if seed % 3 else 'jpg'}", seed)
    return folder
