"""What all figures share: sizes, fonts, saving."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from espnet_plugin.evaluation.figures import colours
from espnet_plugin.utils.atomic import atomic_path

WIDTH = 9.0  # inches, 900 pixels at DPI
DPI = 100
_SETTINGS = {
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
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


def colour_bar(
    axis: Axes, image: ScalarMappable, label: str, *, ticks: Sequence[float] | None = None
) -> None:
    """Adds a colour bar to a panel, which stays aligned with its neighbours."""
    bar = axis.figure.colorbar(image, cax=axis.inset_axes((1.01, 0, 0.012, 1)), ticks=ticks)
    bar.outline.set_visible(False)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.ax.grid(False)


def save(figure: Figure, path: str | Path) -> Path:
    """Writes ``<path>.png`` and ``<path>.svg``; returns the path of the PNG."""
    path = Path(path)
    png, svg = path.with_name(path.name + ".png"), path.with_name(path.name + ".svg")
    with style():
        with atomic_path(png) as temporary:
            figure.savefig(temporary, format="png")
        with atomic_path(svg) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})
    return png
