"""The figure of a sweep: every run as a dot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from espnet_plugin.evaluation.figures import colours, style

from .comparisons import Measure, Run

_PANELS = (
    Measure("parallel → image R@10", ("parallel", "speech_to_image", "recall@10")),
    Measure("cascaded → image R@10", ("cascaded", "speech_to_image", "recall@10")),
    Measure("content hit@1", ("keywords", "content_word_hit@1")),
    Measure("repeated keywords", ("keywords", "duplicate_rate")),
)


def draw_runs(runs: Sequence[Run], systems: Sequence[str]) -> Figure:
    """Draws four measures: a dot for each run, a bar at each system's mean."""
    with style.style():
        figure = style.new_figure(0.34 * len(systems) * 2 + 2.4)
        axes = figure.subplots(2, 2, sharey=True)
        for axis, measure in zip(axes.flat, _PANELS, strict=True):
            for row, system in enumerate(systems):
                values = [run.value(measure) for run in runs if run.system == system]
                values = [100 * value for value in values if value is not None]
                if not values:
                    continue
                axis.plot(values, [row] * len(values), "o", color=colours.GREY, markersize=6,
                          markeredgecolor="white", alpha=0.9)  # fmt: skip
                mean = float(np.mean(values))
                axis.plot([mean, mean], [row - 0.32, row + 0.32], color=colours.INK, linewidth=2)
            axis.set_title(f"{measure.name} (%)", fontsize=11)
            axis.locator_params(axis="x", nbins=5)
            axis.set_yticks(range(len(systems)), systems)
            axis.set_ylim(len(systems) - 0.5, -0.5)
    return figure
