"""Figures of a sweep: every run as a dot, and the number of keywords over the speech's length."""

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
# of architectures; colours.SYSTEMS are an architecture's branches
_SYSTEM_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", colours.GREY)


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


def draw_keyword_numbers(runs: Sequence[Run], systems: Sequence[str]) -> Figure:
    """Draws each system's mean number of keywords over the utterances' length."""
    with style.style():
        figure = style.new_figure(3.8)
        axis = figure.subplots()
        for system, colour in zip(systems, _SYSTEM_COLOURS, strict=False):
            spoken = [u for run in runs if run.system == system for u in run.data.keywords]
            if not spoken:
                continue
            seconds = np.array([u.seconds for u in spoken])
            numbers = np.array([len(u.keywords) for u in spoken], dtype=float)
            edges = np.unique(np.quantile(seconds, np.linspace(0, 1, 13)))
            place = np.clip(np.searchsorted(edges, seconds, "right") - 1, 0, len(edges) - 2)
            bins = [np.flatnonzero(place == b) for b in range(len(edges) - 1)]
            x = np.array([seconds[b].mean() for b in bins if len(b)])
            y = np.array([numbers[b].mean() for b in bins if len(b)])
            spread = np.array([numbers[b].std() for b in bins if len(b)])
            axis.fill_between(x, y - spread, y + spread, color=colour, alpha=0.15, linewidth=0)
            axis.plot(x, y, "o-", color=colour, label=system, markersize=5)
        axis.set(xlabel="length of the utterance (s)", ylabel="keywords (mean, ± one deviation)")
        axis.set_ylim(bottom=0)
        axis.set_title("number of keywords over the length of the speech")
        axis.legend()
    return figure
