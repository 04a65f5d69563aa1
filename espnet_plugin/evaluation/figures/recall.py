"""Recall: over k, and from step to step of the ladder."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from espnet_plugin.evaluation.chance import chance_scores
from espnet_plugin.evaluation.figures import colours, style
from espnet_plugin.evaluation.ladder import KEYWORDS, STEPS
from espnet_plugin.evaluation.scores.retrieval import Ranks

MAX_K = 100  # right end of the axis, or the number of items if that is less
_PANELS = {
    "speech → image": ("speech_to_image", "text_to_image"),
    "image → speech": ("image_to_speech", "image_to_text"),
}
_NAMES = {
    "parallel": "parallel branch",
    "cascaded": "cascaded branch",
    "fusion": "both branches",
    "asr": "recogniser's transcript",
    "teacher": "teacher (written caption)",
}
_DASHES = {"teacher": (0, (5, 1.5)), "asr": "-."}


def draw_recall_curves(ranks: Ranks) -> Figure:
    """Draws recall@k over k, one panel per direction, chance as a dashed line.

    Args:
        ranks: What ``rank_set`` returns.
    """
    with style.style():
        figure = style.new_figure(4.1)
        axes = figure.subplots(1, 2, sharey=True)
        for axis, (title, directions) in zip(axes, _PANELS.items(), strict=True):
            axis.set_title(title)
            shown = [
                (system, outcome)
                for system, by_direction in ranks.items()
                for direction, outcome in by_direction.items()
                if direction in directions
            ]
            for system, outcome in shown:
                k = np.arange(1, min(MAX_K, outcome.num_items) + 1)
                axis.plot(
                    k,
                    100 * np.mean(outcome.rank[:, None] <= k, axis=0),
                    color=colours.SYSTEMS[system],
                    linestyle=_DASHES.get(system, "-"),
                    label=_NAMES.get(system, system),
                )
            if shown:  # all have the same items
                chance = chance_scores(outcome.relevant, outcome.num_items, recall_at=k)
                axis.plot(
                    k,
                    100 * np.array(list(chance.recall.values())),
                    color=colours.SYSTEMS["chance"],
                    linestyle=":",
                    label="chance",
                )
            axis.set_xscale("log")
            ticks = (1, 2, 5, 10, 20, 50, MAX_K)
            axis.set_xticks(ticks, [str(tick) for tick in ticks])
            axis.minorticks_off()
            axis.set(xlabel="k", ylim=(0, 102), xlim=(1, None))
        axes[0].set_ylabel("recall@k (%)")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=10)
    return figure


def draw_ladder(ladder: Mapping) -> Figure:
    """Draws recall@1 and @10 of each step.

    Steps of the caption have the teacher's colour, keywords the cascaded branch's.

    Args:
        ladder: What ``score_ladder`` returns.
    """
    steps = ladder["steps"]
    with style.style():
        figure = style.new_figure(0.9 + 0.34 * len(steps))
        axis = figure.subplots()
        said = list(STEPS).index(KEYWORDS)
        for row, (step, scores) in enumerate(steps.items()):
            colour = colours.SYSTEMS["cascaded" if list(STEPS).index(step) >= said else "teacher"]
            for k, face in ((1, colour), (10, colours.PAPER)):
                value = 100 * scores[f"recall@{k}"]
                interval = [100 * edge for edge in scores["intervals"][f"recall@{k}"]]
                axis.plot(interval, [row, row], color=colour, linewidth=1.4)
                axis.plot(value, row, "o", color=colour, markerfacecolor=face, markersize=7)
                axis.annotate(f"{value:.1f}", (value, row), (0, 6), ha="center", fontsize=8,
                              textcoords="offset points")  # fmt: skip
        axis.set_yticks(range(len(steps)), [STEPS[step] for step in steps])
        axis.set(xlim=(0, 103), ylim=(len(steps) - 0.5, -0.7))
        axis.set(xlabel="recall@1 (full) and recall@10 (hollow), %")
        axis.set_title("speech → image, the teacher reading …")
    return figure
