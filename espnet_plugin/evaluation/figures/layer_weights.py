"""Which of the speech encoder's layers the model uses."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from espnet_plugin.evaluation.figures import colours, style


def draw_layer_weights(weights: np.ndarray) -> Figure:
    """Draws the softmax weights of the hidden states as bars.

    Args:
        weights: Weights that sum to 1, (layers + 1,); the first is that of the transformer's input.
    """
    weights = np.asarray(weights, dtype=float)
    if weights.ndim != 1 or not np.isclose(weights.sum(), 1.0, atol=1e-3):
        raise ValueError("layer weights are one row that sums to 1: apply the softmax first")
    with style.style():
        figure = style.new_figure(3.2)
        axis = figure.subplots()
        layers = np.arange(len(weights))
        axis.bar(layers, weights, color=colours.SIGNAL, width=0.75)
        even = 1 / len(weights)
        axis.axhline(even, color=colours.GREY, linewidth=1.4, linestyle=":")
        right = len(weights) - 0.6 + 0.12 * len(weights)  # room for the label beside the last bar
        axis.annotate("all equal", (right, even), (0, 3), va="bottom", ha="right",
                      textcoords="offset points", fontsize=9, color=colours.INK)  # fmt: skip
        axis.set_xticks(layers, ["input", *map(str, layers[1:])])
        axis.set(xlabel="layer of the speech encoder", ylabel="weight", xlim=(-0.6, right))
        axis.grid(axis="x", visible=False)
    return figure
