from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_plugin.apps.search.catalog import Window
from espnet_plugin.apps.search.model import IndexedModel
from espnet_plugin.apps.search.update import Update, update_index
from espnet_plugin.data.words import SpokenWord
from espnet_plugin.media.audio import read_mono
from espnet_plugin.media.images import read_image
from espnet_plugin.media.speech_activity import speech_windows

MODEL = IndexedModel("small", "a" * 64)


@dataclass
class PixelEncoder:
    """The pixels of a small image as its embedding; the files that were decoded are noted."""

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


RATE = 8000


@dataclass
class ToneEncoder:
    """The loudness of a window's 48 tones as its embedding; the files that were read are noted."""

    read_files: list[str] = field(default_factory=list)

    def __call__(self, path: str) -> tuple[np.ndarray, list[Window]]:
        samples = read_mono(path, RATE)
        places = speech_windows(samples, RATE)
        self.read_files.append(path)
        rows = []
        for start, end in places:
            spectrum = np.abs(np.fft.rfft(samples[start:end], RATE))
            rows.append([spectrum[tone(each)] for each in range(48)])
        found = np.array(rows, np.float32)
        times = [(start / RATE, end / RATE) for start, end in places]
        words = [
            (SpokenWord(f"tone{row.argmax()}", 0.5, *time),)
            for row, time in zip(found, times, strict=True)
        ]
        windows = [Window(*time, word) for time, word in zip(times, words, strict=True)]
        return found / np.linalg.norm(found, axis=1, keepdims=True), windows


def tone(number: int) -> int:
    """Hz."""
    return 500 + 50 * number


def recording(path: Path, *numbers: int) -> Path:
    """Tones of half a second with a second of silence before each."""
    time = np.arange(RATE // 2) / RATE
    parts = [np.zeros(RATE // 10)]
    for number in numbers:
        parts += [np.zeros(RATE), 0.3 * np.sin(2 * np.pi * tone(number) * time)]
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate(parts), RATE)
    return path


def picture(path: Path, seed: int) -> Path:
    """An image that differs from others by its seed."""
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)
    return path


def update(directory: Path, *folders: Path, **options) -> Update:
    given = {"model": MODEL, "encoder": PixelEncoder(), "batch_size": 2}
    given["embed_recording"] = ToneEncoder()
    return update_index(directory, folders, **{**given, **options})


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of seven pictures, in PNG and JPEG."""
    folder = tmp_path / "pictures"
    for seed in range(7):
        picture(folder / f"sub{seed % 2}" / f"{seed}.{'png' if seed % 3 else 'jpg'}", seed)
    return folder
