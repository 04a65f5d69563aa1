"""What all figures share: sizes, fonts, saving."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from espnet_plugin.evaluation.figures import colours
from espnet_plugin.utils.atomic import atomic_path

WIDTH = 9.0  # inches
_SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": colours.AXES,
    "text.color": colours.INK,
    "axes.labelcolor": colours.INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": colours.PALE,
    "grid.linewidth": 0.8,
    "xtick.color": colours.TICKS,
    "ytick.color": colours.TICKS,
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "text.parse_math": False,  # a caption may hold a dollar
    "svg.hashsalt": "speechclip",
    "figure.facecolor": colours.PAPER,
}


def style() -> AbstractContextManager[None]:
    """Applies the shared settings within a block."""
    return matplotlib.rc_context(_SETTINGS)


def new_figure(height: float) -> Figure:
    """A figure without pyplot, which would need a window system and global state."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure as SVG."""
    with style(), atomic_path(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    return path
