"""Recall@k curves."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from espnet_plugin.evaluation.chance import chance_scores
from espnet_plugin.evaluation.figures import colours, style
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
                counts = np.bincount(np.minimum(outcome.rank, k[-1] + 1), minlength=k[-1] + 2)
                recall = np.cumsum(counts)[1 : k[-1] + 1] / len(outcome.rank)
                axis.plot(
                    k,
                    100 * recall,
                    color=colours.SYSTEMS[system],
                    linestyle=_DASHES.get(system, "-"),
                    label=_NAMES.get(system, system),
                )
            if shown:
                outcome = shown[0][1]
                k = np.arange(1, min(MAX_K, outcome.num_items) + 1)
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
