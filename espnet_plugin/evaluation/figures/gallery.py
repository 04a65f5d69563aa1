"""Retrieval galleries: what was said, the pictures found, the right one marked."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_plugin.evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class GalleryQuery:
    """One row of a gallery.

    Attributes:
        text: What was said.
        pictures: Files of the pictures found, best first.
        scores: Their cosines.
        right: Index among them of the right picture, or None if it is not among them.
        rank: Rank of the right picture, from 1.
    """

    text: str
    pictures: tuple[Path, ...]
    scores: tuple[float, ...]
    right: int | None
    rank: int


def draw_gallery(queries: Sequence[GalleryQuery]) -> Figure:
    """Draws a row per query; the right picture has a thick frame and a tick, in words too."""
    columns = max(len(query.pictures) for query in queries)
    with style.style():
        figure = style.new_figure(1.8 * len(queries))
        axes = figure.subplots(
            len(queries),
            columns + 1,
            squeeze=False,
            gridspec_kw={"width_ratios": [1.35] + [1] * columns},
        )
        for row, query in zip(axes, queries, strict=True):
            for axis in row:
                axis.set(xticks=[], yticks=[])
                axis.grid(False)
                for spine in axis.spines.values():
                    spine.set_visible(False)
            text = "\n".join(textwrap.wrap(f"“{query.text}”", 22)[:6])
            row[0].text(0, 0.5, text, va="center", fontsize=10.5, transform=row[0].transAxes)
            row[0].text(0, 0.02, f"right picture: rank {query.rank}", fontsize=9,
                        color=style.GREY, transform=row[0].transAxes)  # fmt: skip
            for place, path in enumerate(query.pictures):
                _draw_picture(row[1 + place], path, query, place)
    return figure


def _draw_picture(axis: Axes, path: Path, query: GalleryQuery, place: int) -> None:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            axis.imshow(picture.convert("RGB").resize((224, 224)), aspect="equal")
    except OSError as error:
        logging.warning(f"{path} cannot be shown: {error}")
        axis.text(0.5, 0.5, "no picture", ha="center", va="center", transform=axis.transAxes)
    right = place == query.right
    colour = style.BLUE if right else style.GREY
    label = f"{place + 1}: {query.scores[place]:.2f}" + ("  ✔ right" if right else "")
    axis.set_xlabel(label, fontsize=9, color=colour, fontweight="bold" if right else "normal")
    if right:
        for spine in axis.spines.values():
            spine.set(visible=True, color=style.BLUE, linewidth=4)
