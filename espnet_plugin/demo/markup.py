"""The page's answers as HTML; the templates escape every value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from espnet_plugin.demo.backend import Heard
from espnet_plugin.demo.timeline import (
    COLUMNS,
    PIXELS_PER_SECOND,
    accumulated,
    place_labels,
    waveform_path,
)

HERE = Path(__file__).parent
PAGE = Environment(
    loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
).get_template("page.html.jinja")


def render(macro: str, *values: Any) -> str:
    """Fills in a macro of ``page.html.jinja``."""
    return str(getattr(PAGE.module, macro)(*values))


def timeline(heard: Heard, *, player: str, caption: int | None = None) -> str:
    """A recording with its keywords and firings.

    Args:
        heard: What the model found in it.
        player: Id of the element on the page that plays it.
        caption: Position of the caption that it is, whose player is added.
    """
    seconds = len(heard.samples) / heard.rate
    labels = place_labels(heard.keywords or (), seconds=seconds)
    shown: dict[str, Any] = {
        "player": player,
        "caption": caption,
        "start": 100 * heard.start / seconds,
        "end": 100 * heard.end / seconds,
        "seconds": seconds,
        "columns": COLUMNS,
        "waveform": waveform_path(heard.samples),
        "words": heard.keywords,
        "labels": labels,
        "lanes": 1 + max((label.lane for label in labels), default=0),
    }
    if heard.alphas is not None and len(heard.alphas):
        frames = seconds / heard.frame_seconds  # a little more than the model's
        begin = heard.start / heard.frame_seconds
        corners = accumulated(heard.alphas, threshold=heard.threshold)
        shown |= {
            "frames": frames,
            "begin": begin,
            # an SVG path, x in frames, y from 0 (full) to 1 (empty)
            "accumulation": "M" + "L".join(f"{x:.2f},{1 - level:.3f}" for x, level in corners),
            "firings": [100 * (begin + x) / frames for x, level in corners if level == 1.0],
        }
    return render("timeline", shown, round(seconds * PIXELS_PER_SECOND))
