"""Patterns and actions of a thing, as changes of its glyph.

Each takes and returns colours (side, side, 3) in 0 to 255 and opacity (side, side, 1) in 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Look = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

_SUN, _SEA, _FLAME, _WALL = (255, 240, 90), (40, 110, 230), (255, 90, 0), (120, 120, 120)


def _striped(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, x = _grid(alpha)
    return _darkened(colour, np.sin(2 * np.pi * (y + x) * 4) > 0), alpha


def _checked(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, x = _grid(alpha)
    return _darkened(colour, ((y * 6).astype(int) + (x * 6).astype(int)) % 2 == 0), alpha


def _spotted(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, x = _grid(alpha)
    return _darkened(colour, np.hypot(y * 4 % 1 - 0.5, x * 4 % 1 - 0.5) < 0.3), alpha


def _wooden(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, x = _grid(alpha)
    grain = np.sin(2 * np.pi * (y * 5 + 0.5 * np.sin(2 * np.pi * x)))
    return _darkened(colour * np.float32([0.85, 0.65, 0.45]), grain > 0.4), alpha


def _metal(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, x = _grid(alpha)
    shine = np.abs(np.sin(np.pi * (y + 0.5 * x) * 1.5))[..., None]
    return colour * 0.5 + 127 * shine.astype(np.float32), alpha


def _glass(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return colour, alpha * np.float32(0.4)


def _lying(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.rot90(colour), np.rot90(alpha)


def _hanging(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return colour[::-1], alpha[::-1]


def _moving(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A fading trail to one side."""
    shift = len(alpha) // 4
    trail = np.roll(alpha, shift, axis=1)
    trail[:, :shift] = 0
    drawn = alpha > 0.5
    return np.where(drawn, colour, np.roll(colour, shift, axis=1)), np.maximum(alpha, trail * 0.45)


def _shining(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, x = _grid(alpha)
    return _before(colour, alpha, np.hypot(y - 0.5, x - 0.5) < 0.5, _SUN)


def _swimming(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, x = _grid(alpha)
    return _behind(colour, alpha, y > 0.6 + 0.06 * np.sin(4 * np.pi * x), _SEA)


def _burning(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, x = _grid(alpha)
    return _behind(colour, alpha, y > 0.6 + 0.35 * np.abs(np.sin(3 * np.pi * x)), _FLAME)


def _caged(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, x = _grid(alpha)
    return _behind(colour, alpha, x * 5 % 1 < 0.3, (30, 30, 30))


def _hiding(colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, x = _grid(alpha)
    return _behind(colour, alpha, x > 0.6, _WALL)


LOOKS: dict[str, Look] = {
    "striped": _striped,
    "checked": _checked,
    "spotted": _spotted,
    "wooden": _wooden,
    "metal": _metal,
    "glass": _glass,
    "lying": _lying,
    "hanging": _hanging,
    "moving": _moving,
    "shining": _shining,
    "swimming": _swimming,
    "burning": _burning,
    "caged": _caged,
    "hiding": _hiding,
}


def _grid(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns in 0 to 1, (side, side) each."""
    side = len(alpha)
    return tuple(np.mgrid[:side, :side] / side)


def _darkened(colour: np.ndarray, where: np.ndarray) -> np.ndarray:
    return np.where(where[..., None], colour * np.float32(0.35), colour)


def _behind(
    colour: np.ndarray, alpha: np.ndarray, where: np.ndarray, screen: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Put the thing behind something of one colour."""
    there = where[..., None]
    return np.where(there, np.float32(screen), colour), np.where(there, np.float32(1.0), alpha)


def _before(
    colour: np.ndarray, alpha: np.ndarray, where: np.ndarray, ground: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Put the thing before something of one colour."""
    there = where[..., None]
    seen = alpha * colour + (1 - alpha) * np.float32(ground)
    return np.where(there, seen, colour), np.where(there, np.float32(1.0), alpha)
