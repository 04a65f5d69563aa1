"""The page's answers as HTML; the templates escape every value.

``evaluation.figures`` draws still images of a recording; here, the drawing follows dark mode and
width, moves a cursor and plays what is clicked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader

from espnet_plugin.demo.backend import SpokenQuestion
from espnet_plugin.inference.words import SpokenWord
from espnet_plugin.utils.progress import counted

HERE = Path(__file__).parent
PAGE = Environment(
    loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
).get_template("page.html.jinja", globals={"counted": counted})
COLUMNS = 800
# at least; a narrower window scrolls. Four seconds fit on a phone
PIXELS_PER_SECOND = {"wide": 160.0, "narrow": 70.0}
LETTER = 8.6  # pixels
MARGIN = 14.0  # pixels around a word
SCORE = 4  # letters of the score below a word


def render(macro: str, *values: Any) -> str:
    """Fills in a macro of ``page.html.jinja``."""
    return str(getattr(PAGE.module, macro)(*values))


def timeline(asked: SpokenQuestion, *, player: str) -> str:
    """Draws a recording with its keywords and firings.

    Args:
        asked: The recording and what was found in it.
        player: Id of the element on the page that plays it.
    """
    seconds = len(asked.samples) / asked.rate
    labels = place_labels(asked.keywords or (), seconds=seconds)
    widths = {name: round(seconds * pixels) for name, pixels in PIXELS_PER_SECOND.items()}
    shown: dict[str, Any] = {
        "player": player,
        "whole": asked.whole,
        "keywords_end": asked.keywords_end,
        "start": 100 * asked.start / seconds,
        "end": 100 * asked.end / seconds,
        "seconds": seconds,
        "columns": COLUMNS,
        "waveform": waveform_path(asked.samples),
        "words": asked.keywords,
        "labels": labels,
        "widths": widths,
        "lanes": {
            name: 1 + max((label.lanes[name] for label in labels), default=0) for name in widths
        },
    }
    if asked.alphas is not None and len(asked.alphas):
        frames = seconds / asked.frame_seconds  # a little more than the model's
        begin = asked.start / asked.frame_seconds
        corners = accumulated(asked.alphas, threshold=asked.threshold)
        shown |= {
            "frames": frames,
            "begin": begin,
            # an SVG path, x in frames, y from 0 (full) to 1 (empty)
            "accumulation": "M" + "L".join(f"{x:.2f},{1 - level:.3f}" for x, level in corners),
            "firings": [100 * (begin + x) / frames for x, level in corners if level == 1.0],
        }
    return render("timeline", shown)


@dataclass(frozen=True)
class Label:
    """A keyword with its place: percent of the width, and a line below the waveform.

    ``half`` is half the word's width in pixels; ``lanes`` has the line for each kind of window.
    """

    keyword: SpokenWord
    left: float
    width: float
    half: float
    lanes: dict[str, int]


def waveform_path(samples: np.ndarray, *, columns: int = COLUMNS) -> str:
    """Outline of a waveform (samples,) as an SVG path, x from 0 to ``columns``, y from −1 to 1."""
    columns = min(columns, len(samples))
    edges = np.linspace(0, len(samples), columns + 1).astype(int)[:-1]
    high = np.maximum.reduceat(samples, edges)
    low = np.minimum.reduceat(samples, edges)
    scale = max(float(np.abs(samples).max()), 1e-9)
    places = np.linspace(0, COLUMNS, columns)
    upper = [f"{x:.1f},{-y / scale:.3f}" for x, y in zip(places, high, strict=True)]
    lower = [f"{x:.1f},{-y / scale:.3f}" for x, y in zip(places, low, strict=True)]
    return "M" + "L".join([*upper, *reversed(lower)]) + "Z"


def accumulated(alphas: np.ndarray, *, threshold: float) -> list[tuple[float, float]]:
    """Corners of the line that climbs with the weights and drops when a keyword is complete.

    Args:
        alphas: CIF's weight of each frame, (frames,).
        threshold: Weight at which a keyword is complete; the rest begins the next.

    Returns:
        The place in frames and the share of the threshold of each corner, in order.
    """
    corners, level = [(0.0, 0.0)], 0.0
    for frame, alpha in enumerate(alphas.tolist()):
        begin = 0.0  # share of the frame that is used up
        while alpha > 0 and level + alpha * (1 - begin) >= threshold:
            begin += (threshold - level) / alpha
            level = 0.0
            corners += [(frame + begin, 1.0), (frame + begin, 0.0)]
        level += alpha * (1 - begin)
        corners.append((frame + 1.0, level / threshold))
    return corners


def place_labels(keywords: Sequence[SpokenWord], *, seconds: float) -> list[Label]:
    """Puts keywords that have times into lines so that their words do not overlap.

    Args:
        keywords: Keywords in order of time; those without a time are left out.
        seconds: Duration of the recording in seconds.
    """
    right: dict[str, list[float]] = {name: [] for name in PIXELS_PER_SECOND}  # of each line so far
    labels = []
    for keyword in keywords:
        if keyword.start is None or keyword.end is None:
            continue
        half = (max(len(keyword.word), SCORE) * LETTER + MARGIN) / 2
        lanes = {}
        for name, pixels in PIXELS_PER_SECOND.items():
            # the page keeps words at the edges within the drawing
            least, most = half, max(half, seconds * pixels - half)
            middle = min(max((keyword.start + keyword.end) / 2 * pixels, least), most)
            ends = right[name]
            lane = next((lane for lane, end in enumerate(ends) if middle - half >= end), len(ends))
            ends[lane : lane + 1] = [middle + half]
            lanes[name] = lane
        left = 100 * keyword.start / seconds
        width = 100 * (keyword.end - keyword.start) / seconds
        labels.append(Label(keyword, left, width, half, lanes))
    return labels
