"""The ladder: recall at each step, and which content words are named."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from espnet_plugin.evaluation.figures import colours, style
from espnet_plugin.evaluation.ladder import KEYWORDS, STEPS
from espnet_plugin.evaluation.scores.ladder import best_and_worst_words


def draw_ladder(ladder: Mapping) -> Figure:
    """Draws recall@1 and @10 of each step over the content words' recall by place and by word.

    Args:
        ladder: What ``score_ladder`` returns.
    """
    steps, words = ladder["steps"], ladder["words"]
    best, worst = best_and_worst_words(words)
    panels = {
        "by place": ladder["positions"],
        "best words": {word: words[word] for word in best},
        "worst words": {word: words[word] for word in worst},
    }
    heights = [0.9 + 0.34 * len(steps), 0.9 + 0.2 * max(map(len, panels.values()))]
    with style.style():
        figure = style.new_figure(sum(heights))
        upper, lower = figure.subfigures(2, 1, height_ratios=heights)
        _draw_steps(upper.subplots(), steps)
        for axis, (title, found) in zip(lower.subplots(1, 3), panels.items(), strict=True):
            recalls = [100 * value["recall"] for value in found.values()]
            axis.barh(range(len(found)), recalls, color=colours.RIGHT, height=0.7)
            axis.set_yticks(range(len(found)), list(found), fontsize=9)
            axis.set(xlim=(0, 100), xlabel="content words named (%)", title=title)
            axis.invert_yaxis()
            axis.grid(axis="y", visible=False)
    return figure


def _draw_steps(axis: Axes, steps: Mapping[str, Mapping]) -> None:
    """The caption's own words are the teacher's, what the model said is the cascaded branch's."""
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
