"""Patterns and actions of a thing, as changes of its glyph.

Each takes and returns colours (side, side, 3) in 0 to 255 and opacity (side, side, 1) in 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Look = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
Where = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of the rows and columns of _grid

_SUN, _SEA, _FLAME, _WALL = (255, 240, 90), (40, 110, 230), (255, 90, 0), (120, 120, 120)
_BARS = (30, 30, 30)


def _grid(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns in 0 to 1, (side, side) each."""
    side = len(alpha)
    return tuple(np.mgrid[:side, :side] / side)


def _darkened(where: Where) -> Look:
    """Darken the thing."""

    def look(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dark = where(*_grid(alpha))[..., None]
        return np.where(dark, colour * np.float32(0.35), colour), alpha

    return look


def _behind(screen: tuple[int, int, int], where: Where) -> Look:
    """Put the thing behind something of one colour."""

    def look(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        there = where(*_grid(alpha))[..., None]
        return np.where(there, np.float32(screen), colour), np.where(there, np.float32(1.0), alpha)

    return look


def _wooden(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make the thing brown, with a grain."""
    grain = _darkened(lambda y, x: np.sin(2 * np.pi * (y * 5 + 0.5 * np.sin(2 * np.pi * x))) > 0.4)
    return grain(colour * np.float32([0.85, 0.65, 0.45]), alpha)


def _metal(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, x = _grid(alpha)
    shine = np.abs(np.sin(np.pi * (y + 0.5 * x) * 1.5))[..., None]
    return colour * 0.5 + 127 * shine.astype(np.float32), alpha


def _moving(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the thing a fading trail to one side."""
    shift = len(alpha) // 4
    trail = np.roll(alpha, shift, axis=1)
    trail[:, :shift] = 0
    drawn = alpha > 0.5
    return np.where(drawn, colour, np.roll(colour, shift, axis=1)), np.maximum(alpha, trail * 0.45)


def _shining(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put the thing before a round sun."""
    y, x = _grid(alpha)
    there = (np.hypot(y - 0.5, x - 0.5) < 0.5)[..., None]
    seen = alpha * colour + (1 - alpha) * np.float32(_SUN)
    return np.where(there, seen, colour), np.where(there, np.float32(1.0), alpha)


LOOKS: dict[str, Look] = {
    "striped": _darkened(lambda y, x: np.sin(2 * np.pi * (y + x) * 4) > 0),
    "checked": _darkened(lambda y, x: ((y * 6).astype(int) + (x * 6).astype(int)) % 2 == 0),
    "spotted": _darkened(lambda y, x: np.hypot(y * 4 % 1 - 0.5, x * 4 % 1 - 0.5) < 0.3),
    "wooden": _wooden,
    "metal": _metal,
    "glass": lambda colour, alpha: (colour, alpha * np.float32(0.4)),
    "lying": lambda colour, alpha: (np.rot90(colour), np.rot90(alpha)),
    "hanging": lambda colour, alpha: (colour[::-1], alpha[::-1]),
    "moving": _moving,
    "shining": _shining,
    "swimming": _behind(_SEA, lambda y, x: y > 0.6 + 0.06 * np.sin(4 * np.pi * x)),
    "burning": _behind(_FLAME, lambda y, x: y > 0.6 + 0.35 * np.abs(np.sin(3 * np.pi * x))),
    "caged": _behind(_BARS, lambda y, x: x * 5 % 1 < 0.3),
    "hiding": _behind(_WALL, lambda y, x: x > 0.6),
}
