"""Similarity matrices and attention maps."""

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
        axis.set(xlabel="pictures", ylabel="" if queries <= 40 else "utterances")
        axis.grid(False)
        bar = figure.colorbar(image, ax=axis, pad=0.015, fraction=0.035)
        bar.outline.set_visible(False)
        bar.set_label("cosine")
        if right_items is not None:
            axis.set_title("spoken captions against pictures (right one outlined)")
    return figure


def draw_attention(
    attention: np.ndarray, *, frame_seconds: float = 0.02, query_labels: Sequence[str] = ()
) -> Figure:
    """Draws an attention map, one panel per head.

    Args:
        attention: (heads, queries, frames) weights, e.g. the rows of the learned queries.
        frame_seconds: Time from one frame to the next.
        query_labels: Names of the queries; without them the queries are frames.
    """
    heads, queries, frames = attention.shape
    seconds = frames * frame_seconds
    columns = min(heads, 2)
    rows = -(-heads // columns)
    with style.style():
        figure = style.new_figure(max(3.0, rows * 2.6))
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        bottom = queries - 0.5 if query_labels else queries * frame_seconds
        top = -0.5 if query_labels else 0.0
        for head, axis in enumerate(axes.flat):
            axis.grid(False)
            if head >= heads:
                axis.set_visible(False)
                continue
            axis.imshow(attention[head], aspect="auto", cmap="viridis", vmin=0,
                        interpolation="nearest", extent=(0, seconds, bottom, top))  # fmt: skip
            if heads > 1:
                axis.set_title(f"head {head + 1}", fontsize=10)
            if query_labels:
                axis.set_yticks(range(queries), query_labels)
        for axis in axes[-1]:
            axis.set_xlabel("attended time (s)")
        if not query_labels:
            for axis in axes[:, 0]:
                axis.set_ylabel("time (s)")
    return figure
