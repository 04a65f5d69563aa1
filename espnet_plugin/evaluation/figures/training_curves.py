"""Losses, recall and keyword numbers over the epochs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from espnet_plugin.evaluation.figures import colours, style
from espnet_plugin.evaluation.training_log import Curves

_PANELS: tuple[tuple[str, str], ...] = (
    ("loss", r"loss(_(?!scale)\w+)?|\w+_loss"),
    ("mean recall on dev (%)", r"(\w+_)?recall_mean_at_(1|10)"),
    ("keywords per utterance", r"(mean_|target_)?keywords"),
    ("tokens in use, perplexity", r"\w*perplexity"),
)
_MAX_CURVES = 6


def draw_training_curves(curves: Curves) -> Figure:
    """Draws the training's measures: thin dashed lines for training, solid ones for validation.

    Args:
        curves: What ``read_training_curves`` returns. Only losses, mean recall, numbers of keywords
            and perplexities are drawn.
    """
    panels = []
    for title, pattern in _PANELS:
        names = [name for name in curves if re.fullmatch(pattern, name)]
        if names:
            panels.append((title, names[:_MAX_CURVES]))
    if not panels:
        raise ValueError(f"no measure to draw among {sorted(curves)}")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with style.style():
        figure = style.new_figure(3.7 * rows)
        axes = figure.subplots(rows, columns, squeeze=False).flat
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        for axis, (title, names) in zip(axes, panels, strict=False):
            _draw_panel(axis, title, names, curves)
    return figure


def _draw_panel(axis: Axes, title: str, names: Sequence[str], curves: Curves) -> None:
    both = any(len(curves[name]) > 1 for name in names)
    axis.set_title(f"{title} (dashed: train)" if both else title)
    for name, colour in zip(names, _colours(names), strict=True):
        for phase, points in curves[name].items():
            x, y = np.array(points, dtype=float).T
            if "recall" in name:
                y = 100 * y
            valid = phase == "valid"
            only = len(curves[name]) == 1
            axis.plot(
                x,
                y,
                color=colour,
                linewidth=2.0 if valid else 1.1,
                linestyle="-" if valid or only else (0, (3, 1.5)),
                alpha=0.45 if name.endswith("_at_1") else 1.0,
                marker="o" if len(x) < 3 else None,
                markersize=4,
                label=_label(name) if valid or only else None,
            )
    if "recall" in title:
        axis.set_ylim(bottom=0)
    axis.set_xlabel("epoch")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(
        fontsize=9,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.2),
        ncols=2,
        handlelength=1.4,
        columnspacing=1.2,
        borderpad=0,
    )


def _colours(names: Sequence[str]) -> list[str]:
    """A branch's measures have its colour, recall@1 and recall@10 the same, the others any."""
    free = itertools.cycle(colours.NEUTRAL)
    chosen: dict[str, str] = {}
    for name in names:
        branch = next((b for b in ("parallel", "cascaded") if b in name), None)
        key = re.sub(r"_at_\d+", "", name)
        chosen[name] = colours.SYSTEMS[branch] if branch else chosen.get(key) or next(free)
        chosen[key] = chosen[name]
    return [chosen[name] for name in names]


def _label(name: str) -> str:
    words = re.sub(r"recall_mean_at_(\d+)", r"R@\1", name).replace("_", " ")
    return re.sub(r"^R@", "mean R@", words)
