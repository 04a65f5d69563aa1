"""What the pages say about a figure, for readers without matplotlib too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Timeline(NamedTuple):
    """Distances of a time axis's panels from a figure's edges, as shares of its size.

    Attributes:
        left: From the left edge to the axis's start.
        right: From the left edge to its end.
        top: From the upper edge.
        bottom: From the lower edge.
        seconds: At the axis's end.
    """

    left: float
    right: float
    top: float
    bottom: float
    seconds: float


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the report.

    Attributes:
        name: Of its files, without suffix.
        title: A few words.
        meaning: One sentence: how to read it.
        section: Heading in docs/evaluation.md that says more, as in its address.
        png: The file, with an SVG beside it.
        utterance: The utterance that is drawn over time, if one is.
        timeline: Where its time axis lies, if an utterance is drawn.
    """

    name: str
    title: str
    meaning: str
    section: str
    png: Path
    utterance: str | None = None
    timeline: Timeline | None = None
