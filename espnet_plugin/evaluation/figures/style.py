"""What all figures share: sizes, fonts, saving."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from espnet_plugin.data.images import read_image
from espnet_plugin.data.scp import DataError
from espnet_plugin.evaluation.figures import colours
from espnet_plugin.utils.atomic import atomic_path

WIDTH = 9.0  # inches, 900 pixels at DPI
DPI = 100
PHOTOGRAPH = "photograph"
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
    """Applies the shared settings for the time of a block, whatever the user's own are."""
    return matplotlib.rc_context(_SETTINGS)


def new_figure(height: float) -> Figure:
    """A figure without pyplot, so that no window system and no global state is needed."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def show_picture(axis: Axes, path: str | Path, *, side: int | None = None) -> None:
    """Shows a picture file, or says that there is none. In an SVG its group is a photograph.

    Args:
        axis: Where.
        path: The file.
        side: Pixels of the square that it is pressed into; None keeps its shape.
    """
    axis.set_gid(PHOTOGRAPH)
    try:
        picture = read_image(path)
        axis.imshow(picture if side is None else picture.resize((side, side)), aspect="equal")
    except DataError as error:
        logging.warning(f"{path} cannot be shown: {error}")
        axis.text(0.5, 0.5, "no picture", ha="center", va="center", transform=axis.transAxes)


def colour_bar(
    axis: Axes, image: ScalarMappable, label: str, *, ticks: Sequence[float] | None = None
) -> None:
    """Says beside a panel what its colours stand for, and leaves it aligned with its neighbours."""
    bar = axis.figure.colorbar(image, cax=axis.inset_axes((1.01, 0, 0.012, 1)), ticks=ticks)
    bar.outline.set_visible(False)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.ax.grid(False)


def save(figure: Figure, path: str | Path) -> Path:
    """Writes ``<path>.png`` and ``<path>.svg``; returns the path of the PNG."""
    path = Path(path)
    png, svg = path.with_name(path.name + ".png"), path.with_name(path.name + ".svg")
    photographs = (axis for axis in figure.findobj(Axes) if axis.get_gid() == PHOTOGRAPH)
    for number, axis in enumerate(photographs):
        axis.set_gid(f"{PHOTOGRAPH}_{number}")  # an id stands once in a file
    with style():
        with atomic_path(png) as temporary:
            figure.savefig(temporary, format="png")
        with atomic_path(svg) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})
    return png
