"""A recording over time as HTML: its waveform, the words at their places, and CIF's weights.

The demo page and the reports show the same drawing. It follows width and dark mode.
``timeline.css`` styles it; the page around it sets ``--sc-ink``, ``--sc-soft``, ``--sc-paper`` and
``--sc-line``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from espnet_plugin.data.words import SpokenWord
from espnet_plugin.utils.templates import templates_in

TIMELINE_CSS = Path(__file__).with_name("timeline.css")
_TEMPLATE = templates_in(Path(__file__).parent).get_template("timeline.html.jinja")
COLUMNS = 800
# at least; a narrower window scrolls. Four seconds fit on a phone
PIXELS_PER_SECOND = {"wide": 160.0, "narrow": 70.0}
LETTER = 8.6  # pixels
MARGIN = 14.0  # pixels around a word
SCORE = 4  # letters of the score below a word


@dataclass(frozen=True)
class Weights:
    """CIF's weights of a recording.

    Attributes:
        alphas: Weight of each frame, (frames,).
        frame_seconds: Seconds from one frame to the next.
        threshold: Weight that completes a keyword.
        start: Second of the first frame.
    """

    alphas: np.ndarray
    frame_seconds: float
    threshold: float = 1.0
    start: float = 0.0


@dataclass(frozen=True)
class Label:
    """A word with its place: percent of the width, and a line below the waveform.

    ``kind`` is a key of ``colours.KEYWORDS`` if the word is right or wrong, else empty. ``half`` is
    half the word's width in pixels; ``lanes`` has the line for each kind of window.
    """

    word: SpokenWord
    kind: str
    left: float
    width: float
    half: float
    lanes: dict[str, int]


def draw_timeline(
    samples: np.ndarray,
    rate: int,
    rows: Mapping[str, Sequence[tuple[SpokenWord, str]]],
    *,
    weights: Weights | None = None,
    heard: tuple[float, float] | None = None,
    player: str | None = None,
) -> Markup:
    """Draws a recording, below it the words, and with weights the sum of these.

    A mark shows the end of each word of the last row, not each firing of CIF: some firings make a
    doubtful keyword, and several make one word.

    Args:
        samples: The recording, (samples,).
        rate: Sampling rate in Hz.
        rows: Words in order of time and the kind of each, by the title of their row; titles may be
            empty.
        weights: CIF's weights, if they are drawn.
        heard: Seconds at which the part that a model heard starts and ends; by default all.
        player: Id of the page's element that plays what is clicked; without one, nothing can be.
    """
    seconds = len(samples) / rate
    start, end = heard or (0.0, seconds)
    labels = {title: place_labels(words, seconds=seconds) for title, words in rows.items()}
    *_, last = labels.values()
    accumulation = None
    if weights is not None and len(weights.alphas):
        corners = accumulated(weights.alphas, threshold=weights.threshold)
        # an SVG path, x in frames, y from 0 (full) to 1 (empty)
        accumulation = "M" + "L".join(f"{x:.2f},{1 - level:.3f}" for x, level in corners)
    return Markup(  # noqa: S704  the template escapes every value
        _TEMPLATE.render(
            seconds=seconds,
            start=100 * start / seconds,
            end=100 * end / seconds,
            player=player,
            columns=COLUMNS,
            waveform=waveform_path(samples),
            rows=labels,
            bands=last,
            lanes={
                title: {
                    name: 1 + max((label.lanes[name] for label in placed), default=0)
                    for name in PIXELS_PER_SECOND
                }
                for title, placed in labels.items()
            },
            widths={name: round(seconds * pixels) for name, pixels in PIXELS_PER_SECOND.items()},
            accumulation=accumulation,
            frames=seconds / weights.frame_seconds if weights else 0,
            begin=weights.start / weights.frame_seconds if weights else 0,
        )
    )


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


def place_labels(words: Sequence[tuple[SpokenWord, str]], *, seconds: float) -> list[Label]:
    """Puts words into lines so that they do not overlap.

    Args:
        words: Words in order of time, and the kind of each.
        seconds: Duration of the recording in seconds.
    """
    right: dict[str, list[float]] = {name: [] for name in PIXELS_PER_SECOND}  # of each line so far
    labels = []
    for word, kind in words:
        start, end = word.span
        half = (max(len(word.word), SCORE) * LETTER + MARGIN) / 2
        lanes = {}
        for name, pixels in PIXELS_PER_SECOND.items():
            # the page keeps words at the edges within the drawing
            least, most = half, max(half, seconds * pixels - half)
            middle = min(max((start + end) / 2 * pixels, least), most)
            taken = right[name]
            lane = next((n for n, last in enumerate(taken) if middle - half >= last), len(taken))
            taken[lane : lane + 1] = [middle + half]
            lanes[name] = lane
        left = 100 * start / seconds
        width = 100 * (end - start) / seconds
        labels.append(Label(word, kind, left, width, half, lanes))
    return labels
