"""The demo page's answers as HTML; the templates escape every value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from espnet_plugin.apps.demo.backend import SpokenQuestion
from espnet_plugin.evaluation.figures.timeline import Weights, draw_timeline
from espnet_plugin.utils.progress import counted
from espnet_plugin.utils.templates import templates_in

HERE = Path(__file__).parent
PAGE = templates_in(HERE).get_template("page.html.jinja", globals={"counted": counted})


def render(macro: str, *values: Any) -> str:
    """Fills in a macro of ``page.html.jinja``."""
    return str(getattr(PAGE.module, macro)(*values))


def timeline(asked: SpokenQuestion, *, player: str) -> str:
    """Draws a recording with its keywords and CIF's weights.

    Args:
        asked: The recording and what was found in it.
        player: Id of the element on the page that plays it.
    """
    placed = [(word, "") for word in asked.keywords or () if word.start is not None]
    weights = None
    if asked.alphas is not None and len(asked.alphas):
        weights = Weights(asked.alphas, asked.frame_seconds, asked.threshold, asked.start)
    drawing = draw_timeline(
        asked.samples,
        asked.rate,
        {"": placed},
        weights=weights,
        heard=(asked.start, asked.end),
        player=player,
    )
    seconds = len(asked.samples) / asked.rate
    shown = {
        "drawing": drawing,
        "branch": asked.branch,
        "keywords_end": asked.keywords_end,
        "cut": asked.start > 0 or asked.end < seconds,
        "words": asked.keywords,
        "placed": bool(placed),
        "weights": weights is not None,
    }
    return render("timeline", shown)
