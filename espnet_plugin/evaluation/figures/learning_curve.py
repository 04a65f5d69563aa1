"""How a training went: its loss, and recall on dev after each epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from espnet_plugin.evaluation.figures import colours, style
from espnet_plugin.evaluation.training_log import Epoch

RECALLS = {  # of validation, averaged over both directions
    branch: f"{branch}_recall_mean_at_1" for branch in ("parallel", "cascaded")
}


def draw_learning_curve(epochs: Sequence[Epoch]) -> Figure:
    """Draws the loss on both sets, and R@1 on dev, where validation measured it.

    Args:
        epochs: Epochs of one training, in order.
    """
    losses = {
        "training": ([(each.number, each.train) for each in epochs], colours.SIGNAL),
        "dev": ([(each.number, each.valid) for each in epochs], colours.INK),
    }
    valid, _ = losses["dev"]
    recalled = any(name in values for _, values in valid for name in RECALLS.values())
    with style.style():
        figure = style.new_figure(3.4)
        axes = figure.subplots(1, 2 if recalled else 1, squeeze=False)[0]
        for label, (measured, colour) in losses.items():
            _draw(axes[0], measured, "loss", label=label, color=colour)
        axes[0].set(title="loss", ylim=(0, None))
        if recalled:
            for branch, name in RECALLS.items():
                _draw(axes[1], valid, name, label=branch, color=colours.SYSTEMS[branch])
            axes[1].set(title="R@1 on dev, mean of both directions", ylim=(0, 1))
            axes[1].yaxis.set_major_formatter(PercentFormatter(1.0))
        for axis in axes:
            axis.set_xlabel("epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.legend()
    return figure


def _draw(
    axis: Axes, measured: Sequence[tuple[int, Mapping[str, float]]], name: str, **line: str
) -> None:
    points = [(number, values[name]) for number, values in measured if name in values]
    if points:
        axis.plot(*zip(*points, strict=True), marker="o", **line)
