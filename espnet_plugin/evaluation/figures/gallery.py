"""Retrieval galleries: what was said, the pictures found, the right one marked."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from espnet_plugin.evaluation.figures import style
from espnet_plugin.evaluation.queries import Query


def draw_gallery(
    queries: Sequence[Query], captions: Mapping[str, str], pictures: Mapping[str, str]
) -> Figure:
    """Draws a row per query; the right picture has a thick frame and a tick, in words too.

    Args:
        queries: What to show, five or so.
        captions: What was said, by utterance.
        pictures: Files of the pictures, by id.
    """
    columns = max(len(query.found) for query in queries)
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
            text = "\n".join(textwrap.wrap(f"“{captions[query.utterance]}”", 22)[:6])
            row[0].text(0, 0.5, text, va="center", fontsize=10.5, transform=row[0].transAxes)
            rank = query.ranks[query.branch]
            row[0].text(0, 0.02, f"right picture: rank {rank}", fontsize=9,
                        color=style.GREY, transform=row[0].transAxes)  # fmt: skip
            for place, (axis, found) in enumerate(zip(row[1:], query.found, strict=False), 1):
                style.show_picture(axis, pictures.get(found.image, found.image), side=224)
                right = found.image == query.right.image
                _write_score(axis, f"{place}: {found.score:.2f}", right=right)
    return figure


def _write_score(axis: Axes, score: str, *, right: bool) -> None:
    colour = style.BLUE if right else style.GREY
    label = score + ("  ✔ right" if right else "")
    axis.set_xlabel(label, fontsize=9, color=colour, fontweight="bold" if right else "normal")
    if right:
        for spine in axis.spines.values():
            spine.set(visible=True, color=style.BLUE, linewidth=4)
