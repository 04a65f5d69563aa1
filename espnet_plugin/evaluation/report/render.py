"""What the templates of ``report.html``, ``RESULTS.md`` and the comparison share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from markupsafe import Markup

from espnet_plugin.evaluation.figures import colours
from espnet_plugin.evaluation.figures.timeline import TIMELINE_CSS
from espnet_plugin.evaluation.report import tables
from espnet_plugin.evaluation.report.media import encode_recording, figure_uri, media_uri
from espnet_plugin.utils.progress import counted
from espnet_plugin.utils.small_files import look_up
from espnet_plugin.utils.templates import templates_in

TEMPLATES = templates_in(Path(__file__).parent)

# what a figure shows: title, and how to read it
SECTIONS = {
    "learning-curve": (
        "How the training went",
        "The loss on training data and dev, and R@1 on dev, averaged over both directions.",
    ),
    "layer-weights": (
        "What the model takes from each layer of the speech encoder",
        "The trained weights of the hidden states; the dotted line is where all would be equal.",
    ),
}
TEMPLATES.globals.update(
    colours=colours,
    timeline_css=TIMELINE_CSS.read_text(encoding="utf-8"),
    keyword_kind=colours.keyword_kind,
    look_up=look_up,
    audio_uri=partial(media_uri, encode=encode_recording),
    figure_uri=figure_uri,
    counted=counted,
    tables=tables,
    sections=SECTIONS,
)


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the report.

    Attributes:
        name: Name of its files, without suffix.
        title: Title, which says what it shows that others do not.
        section: Key of ``SECTIONS`` for what it shows.
        svg: Path of its file.
    """

    name: str
    title: str
    section: str
    svg: Path

    @property
    def meaning(self) -> str:
        """How to read it."""
        return SECTIONS[self.section][1]


@dataclass(frozen=True)
class DrawnUtterance:
    """An utterance that the report draws over time.

    Attributes:
        utterance: Id of the utterance.
        title: What the model heard in it.
        drawing: The drawing as HTML.
    """

    utterance: str
    title: str
    drawing: Markup
