"""The keywords that the model hears, beside what was said."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from espnet_plugin.data.keyword_file import UtteranceKeywords
from espnet_plugin.evaluation.figures import colours, style
from espnet_plugin.evaluation.token_texts import END_OF_WORD

_INKS = {
    "right": colours.PAPER,
    "right-function": colours.ON_RIGHT_FUNCTION,
    "wrong": colours.PAPER,
    "function": colours.INK,
}


def draw_keyword_table(
    utterances: Sequence[UtteranceKeywords], pictures: Sequence[str | None]
) -> Figure:
    """Draws a row per utterance: its picture, its caption and its keywords as coloured labels.

    Args:
        utterances: What to show, six or so.
        pictures: Picture file of each utterance, or None.
    """
    with_pictures = any(pictures)
    with style.style():
        height = 1.15 * len(utterances) + 0.55
        figure = style.new_figure(height)
        figure.set_layout_engine("none")
        row_height, left = 1.15 / height, 0.135 if with_pictures else 0.01
        for row, (utterance, picture) in enumerate(zip(utterances, pictures, strict=True)):
            bottom = 1 - (row + 1) * row_height
            if picture is not None:
                _draw_picture(figure, picture, bottom, row_height)
            axis = figure.add_axes((left, bottom, 1 - left - 0.005, row_height))
            axis.set(xlim=(0, (1 - left) * style.WIDTH), ylim=(0, 1.15))
            axis.axis("off")
            caption = textwrap.shorten(utterance.caption, 105, placeholder=" …")
            axis.text(0, 1.02, f"“{caption}”", va="top", fontsize=11)
            _draw_chips(axis, utterance)
            axis.axhline(0.0, color=colours.PALE, linewidth=1)
        legend = figure.add_axes((0.01, 0, 0.98, 0.5 / height))
        legend.set(xlim=(0, style.WIDTH), ylim=(0, 0.5))
        legend.axis("off")
        x = 0.05
        for kind, (meaning, _) in colours.KEYWORDS.items():
            x = _chip(legend, x, 0.24, meaning, kind, size=9) + 0.12
    return figure


def _draw_picture(figure: Figure, path: str, bottom: float, height: float) -> None:
    axis = figure.add_axes((0.005, bottom + 0.05 * height, 0.115, 0.9 * height))
    axis.axis("off")
    style.show_picture(axis, path)


def _draw_chips(axis: Axes, utterance: UtteranceKeywords) -> None:
    caption = set(utterance.caption_ids)
    right_edge = axis.get_xlim()[1]
    x, y = 0.0, 0.56
    for keyword in utterance.keywords:
        text = keyword.token.removesuffix(END_OF_WORD)
        kind = colours.keyword_kind(keyword.token_id, keyword.token, caption)
        if x + _width(text, 10) > right_edge:
            x, y = 0.0, y - 0.31
            if y < 0.1:
                return
        x = _chip(axis, x, y, text, kind, size=10) + 0.06


def _width(text: str, size: float) -> float:
    return len(text) * size * 0.0089 + 0.14  # inches


def _chip(axis: Axes, x: float, y: float, text: str, kind: str, *, size: float) -> float:
    """Draws a label at (x, y) in inches; returns its right edge."""
    width = _width(text, size)
    axis.add_patch(
        FancyBboxPatch(
            (x + 0.03, y - 0.11),
            width - 0.06,
            0.22,
            boxstyle="round,pad=0.02,rounding_size=0.06",
            facecolor=colours.KEYWORDS[kind][1],
            edgecolor="none",
        )
    )
    axis.text(x + width / 2, y - 0.005, text, ha="center", va="center", fontsize=size,
              color=_INKS[kind])  # fmt: skip
    return x + width
