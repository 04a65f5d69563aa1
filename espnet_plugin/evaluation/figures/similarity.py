"""Similarity matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from espnet_plugin.evaluation.figures import style

LIMIT = 46  # letters of a label


def draw_similarity(similarities: np.ndarray, captions: Sequence[str]) -> Figure:
    """Draws cosines of utterances (rows) and their pictures (columns), the diagonal outlined.

    Args:
        similarities: (pairs, pairs), a few dozen at most.
        captions: Text beside each row; long ones are shortened.
    """
    pairs = len(similarities)
    with style.style():
        figure = style.new_figure(min(10.0, max(3.5, 0.32 * pairs + 1.2)))
        axis = figure.subplots()
        image = axis.imshow(similarities, cmap="cividis", aspect="auto")
        for place in range(pairs):
            corner = (place - 0.5, place - 0.5)
            axis.add_patch(
                Rectangle(corner, 1, 1, fill=False, linewidth=1.6, edgecolor=style.VERMILION)
            )
        labels = [t if len(t) <= LIMIT else t[: LIMIT - 1].rstrip() + "…" for t in captions]
        axis.set_yticks(range(pairs), labels, fontsize=9)
        axis.set_xticks([])
        axis.set(xlabel="pictures")
        axis.grid(False)
        bar = figure.colorbar(image, ax=axis, pad=0.015, fraction=0.035)
        bar.outline.set_visible(False)
        bar.set_label("cosine")
        axis.set_title("spoken captions against pictures (right one outlined)")
    return figure
