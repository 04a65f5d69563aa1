"""Attention maps: where the learned queries, or the frames, look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from espnet_plugin.data.alignments import Word
from espnet_plugin.evaluation.figures import colours, style


def draw_attention(
    attention: np.ndarray,
    *,
    frame_seconds: float,
    query_labels: Sequence[str] = (),
    words: Sequence[Word] = (),
    title: str = "",
) -> Figure:
    """Draws attention maps, one panel per head; a single query has its heads in one panel.

    Args:
        attention: (heads, queries, frames) weights, e.g. the rows of the learned queries.
        frame_seconds: Time from one frame to the next.
        query_labels: Names of the queries; without them the queries are frames.
        words: The words and their times, written above the top panels when known.
        title: What was said.
    """
    labels, names = list(query_labels), [f"head {h + 1}" for h in range(len(attention))]
    if len(labels) == 1:
        attention, labels, names = attention[:, 0][None], names, labels  # heads become the rows
    panels, queries, frames = attention.shape
    seconds = frames * frame_seconds
    columns = min(panels, 2)
    rows = -(-panels // columns)
    height = 0.24 * queries + 0.45 if labels else 3.4
    with style.style():
        figure = style.new_figure(max(2.4, rows * height + 1.1))
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        bottom = queries - 0.5 if labels else seconds
        top = -0.5 if labels else 0.0
        for panel, axis in enumerate(axes.flat):
            axis.grid(False)
            if panel >= panels:
                axis.set_visible(False)
                continue
            image = axis.imshow(
                attention[panel],
                aspect="auto",
                cmap=colours.AMOUNT,
                vmin=0,
                interpolation="nearest",
                extent=(0, seconds, bottom, top),
            )
            style.colour_bar(axis, image, "weight")
            if panels > 1:
                axis.set_ylabel(names[panel], fontsize=10)
            if labels:
                axis.set_yticks(range(queries), labels, fontsize=9)
            _mark_words(axis, words, named=panel < columns, fontsize=9 if columns == 1 else 7)
        for axis in axes[-1]:
            axis.set_xlabel("attended time (s)")
        if not labels and panels == 1:
            axes[0, 0].set_ylabel("time (s)")
        if title:
            figure.suptitle(f"“{title}”", x=0.01, ha="left", fontsize=12, fontweight="bold")
    return figure


def _mark_words(axis: Axes, words: Sequence[Word], *, named: bool, fontsize: float) -> None:
    for word in words:
        axis.axvline(word.start, color=colours.GREY, linewidth=0.7, linestyle=":")
    if not named:
        return
    apart = 0.025 * (axis.get_xlim()[1] - axis.get_xlim()[0])
    labels: list[tuple[float, str]] = []
    for word in words:
        centre = (word.start + word.end) / 2
        if labels and centre - labels[-1][0] < apart:  # they would be written over each other
            labels[-1] = (labels[-1][0], f"{labels[-1][1]} {word.text}")
        else:
            labels.append((centre, word.text))
    for centre, text in labels:
        axis.annotate(text, (centre, 1.0), (0, 3), xycoords=("data", "axes fraction"),
                      textcoords="offset points", rotation=35, ha="left", va="bottom",
                      fontsize=fontsize)  # fmt: skip
