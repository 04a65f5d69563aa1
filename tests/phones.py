"""Recordings and photographs as phones make them; what they need is skipped where it is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def tone(seconds: float, rate: int) -> np.ndarray:
    """A tone of 440 Hz at 0.3 of full scale, (samples,)."""
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)).astype(
        np.float32
    )


def write_aac(
    path: Path, samples: np.ndarray, rate: int, *, channels: int = 1, faststart: bool = False
) -> Path:
    """Samples (samples,) as AAC in MP4, the same in every channel.

    Args:
        path: The file.
        samples: Floating point in [-1, 1].
        rate: Hz.
        channels: One or two.
        faststart: MP4's table of packets before them.
    """
    av = pytest.importorskip("av", reason="extra: phone")
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        stream = container.add_stream("aac", rate=rate)
        stream.layout = {1: "mono", 2: "stereo"}[channels]
        frame = av.AudioFrame.from_ndarray(
            np.stack([samples] * channels), format="fltp", layout=stream.layout.name
        )
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


def write_heic(path: Path, pixels: np.ndarray) -> Path:
    """Pixels (height, width, 3) as HEIC."""
    from PIL import Image

    pillow_heif = pytest.importorskip("pillow_heif", reason="extra: phone")
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(path, quality=95)
    return path
