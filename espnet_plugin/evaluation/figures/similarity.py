"""Similarity matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from espnet_plugin.evaluation.figures import colours, style

LIMIT = 46  # letters of a label


def draw_similarity(
    similarities: np.ndarray, captions: Sequence[str], pictures: Sequence[str | None] = ()
) -> Figure:
    """Draws cosines of utterances (rows) and their pictures (columns), the diagonal outlined.

    Args:
        similarities: (pairs, pairs), a few dozen at most.
        captions: Text beside each row; long ones are shortened.
        pictures: File of each column's picture, shown above it; None where there is none.
    """
    pairs = len(similarities)
    with style.style():
        figure = style.new_figure(min(10.0, max(3.5, 0.4 * pairs + 1.2)))
        axis = figure.subplots()
        image = axis.imshow(similarities, cmap=colours.AMOUNT, aspect="auto")
        for place in range(pairs):
            corner = (place - 0.5, place - 0.5)
            axis.add_patch(
                Rectangle(corner, 1, 1, fill=False, linewidth=1.8, edgecolor=colours.RIGHT)
            )
        labels = [t if len(t) <= LIMIT else t[: LIMIT - 1].rstrip() + "…" for t in captions]
        axis.set_yticks(range(pairs), labels, fontsize=9)
        axis.set_xticks([])
        axis.set(xlabel="pictures, each below its thumbnail; its own caption's cell is outlined")
        axis.grid(False)
        for place, picture in enumerate(pictures):
            if picture is not None:
                thumbnail = axis.inset_axes((place / pairs, 1.01, 1 / pairs, 1.2 / pairs))
                thumbnail.axis("off")
                thumbnail.set_anchor("S")
                style.show_picture(thumbnail, picture, side=64)
        style.colour_bar(axis, image, "cosine")
    return figure
