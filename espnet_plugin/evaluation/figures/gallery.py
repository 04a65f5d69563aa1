"""Retrieval galleries: what was said, the pictures found, the right one marked."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from espnet_plugin.evaluation.figures import colours, style
from espnet_plugin.evaluation.queries import Found, Query


def draw_gallery(
    queries: Sequence[Query], captions: Mapping[str, str], pictures: Mapping[str, str]
) -> Figure:
    """Draws a row per query; the right picture has a thick frame and a tick, in words too.

    Where it is not among those found, it stands behind them, with its rank.

    Args:
        queries: What to show, five or so.
        captions: What was said, by utterance.
        pictures: Files of the pictures, by id.
    """
    rows = [_places(query) for query in queries]
    columns = max(map(len, rows))
    with style.style():
        figure = style.new_figure(1.7 * len(queries))
        axes = figure.subplots(
            len(queries),
            columns + 1,
            squeeze=False,
            gridspec_kw={"width_ratios": [1.35] + [1] * columns},
        )
        for (caption, *cells), query, places in zip(axes, queries, rows, strict=True):
            for axis in (caption, *cells):
                axis.set(xticks=[], yticks=[])
                axis.grid(False)
                axis.spines[:].set_visible(False)
            text = "\n".join(textwrap.wrap(f"“{captions[query.utterance]}”", 22)[:6])
            caption.text(0, 0.5, text, va="center", fontsize=10.5, transform=caption.transAxes)
            for axis, (rank, found) in zip(cells, places, strict=False):
                style.show_picture(axis, pictures.get(found.image, found.image), side=224)
                _write_rank(axis, rank, found, right=found.image == query.right.image)
    return figure


def _places(query: Query) -> list[tuple[int, Found]]:
    """Rank and picture of those found, and of the right one."""
    places = list(enumerate(query.found, 1))
    if all(found.image != query.right.image for found in query.found):
        places.append((query.rank, query.right))
    return places


def _write_rank(axis: Axes, rank: int, found: Found, *, right: bool) -> None:
    label = f"{rank}: {found.score:.2f}" + (" ✔ right" if right else "")
    axis.set_xlabel(label, fontsize=9, color=colours.RIGHT if right else colours.SIGNAL,
                    fontweight="bold" if right else "normal")  # fmt: skip
    if right:
        axis.spines[:].set(visible=True, color=colours.RIGHT, linewidth=4)
