"""Similarity matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from espnet_plugin.evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_similarity(
    similarities: np.ndarray,
    *,
    query_labels: Sequence[str] | None = None,
    item_labels: Sequence[str] | None = None,
    right_items: Sequence[int] | None = None,
) -> Figure:
    """Draws cosines of queries (rows) and items (columns), the right items outlined.

    Args:
        similarities: (queries, items).
        query_labels: Text beside each row, e.g. captions; long ones are shortened.
        item_labels: Text above each column.
        right_items: Column of the right item of each row.
    """
    queries, items = similarities.shape
    limit = 46
    with style.style():
        figure = style.new_figure(min(10.0, max(3.5, 0.32 * queries + 1.2)))
        axis = figure.subplots()
        image = axis.imshow(similarities, cmap="cividis", aspect="auto")
        if right_items is not None:
            from matplotlib.patches import Rectangle

            for row, column in enumerate(right_items):
                axis.add_patch(
                    Rectangle(
                        (column - 0.5, row - 0.5),
                        1,
                        1,
                        fill=False,
                        linewidth=1.6,
                        edgecolor=style.VERMILION,
                    )  # fmt: skip
                )
        labels = query_labels or [str(row) for row in range(queries)]
        labels = [t if len(t) <= limit else t[: limit - 1].rstrip() + "…" for t in labels]
        if queries <= 40:
            axis.set_yticks(range(queries), labels, fontsize=9)
        if item_labels is not None and items <= 40:
            axis.set_xticks(range(items), item_labels, rotation=60, ha="right", fontsize=8)
        elif items <= 40:
            axis.set_xticks([])
        axis.set(xlabel="pictures", ylabel="" if queries <= 40 else "utterances")
        axis.grid(False)
        bar = figure.colorbar(image, ax=axis, pad=0.015, fraction=0.035)
        bar.outline.set_visible(False)
        bar.set_label("cosine")
        if right_items is not None:
            axis.set_title("spoken captions against pictures (right one outlined)")
    return figure
