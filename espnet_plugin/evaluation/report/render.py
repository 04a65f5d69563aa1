"""Composes ``report.html`` and ``RESULTS.md`` from scores, figures and queries."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import jinja2

from espnet_plugin.evaluation.figures import colours
from espnet_plugin.evaluation.queries import Query
from espnet_plugin.evaluation.report import tables
from espnet_plugin.evaluation.report.material import Material
from espnet_plugin.evaluation.report.media import (
    encode_image,
    encode_recording,
    figure_uri,
    media_uri,
)
from espnet_plugin.evaluation.scores.files import look_up
from espnet_plugin.utils.progress import counted

TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("espnet_plugin.evaluation.report", ""),
    autoescape=jinja2.select_autoescape(["html.jinja"], default=False),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.globals.update(
    colours=colours,
    keyword_kind=colours.keyword_kind,
    look_up=look_up,
    audio_uri=partial(media_uri, encode=encode_recording),
    figure_uri=figure_uri,
    counted=counted,
)

# by the address of the heading in docs/evaluation.md that says more: title, and how to read it
SECTIONS = {
    "learning-curve": (
        "How the training went",
        "The loss on training data and dev, and dev's R@1, averaged over both directions.",
    ),
    "firings": (
        "Where the cascaded branch fires",
        "A bar shows the speech that became a keyword. CIF adds up the weights alpha; each time "
        "the sum reaches 1, a keyword is complete.",
    ),
    "layer-weights": (
        "What the model takes from each layer of the speech encoder",
        "The learned weights of the encoder's hidden states, which add up to 1.",
    ),
}


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the report.

    Attributes:
        name: Name of its files, without suffix.
        title: What it shows that others do not.
        section: Of ``SECTIONS``: what it is of.
        svg: The file.
        utterance: The utterance that is drawn over time, if any.
    """

    name: str
    title: str
    section: str
    svg: Path
    utterance: str | None = None

    @property
    def meaning(self) -> str:
        """How to read it."""
        return SECTIONS[self.section][1]


def html_report(
    scores: Mapping,
    *,
    title: str,
    figures: Sequence[ReportFigure],
    examples: Mapping[str, Sequence[Query]],
    material: Material,
    docs: str | None,
) -> str:
    """Composes report.html, which is one file.

    Args:
        scores: Content of scores.json.
        title: Name of the experiment.
        figures: What ``draw_all`` returned.
        examples: What ``choose_examples`` returned.
        material: Recordings, images and texts.
        docs: Address of docs/evaluation.md, relative to the page; None if it is missing.
    """
    return TEMPLATES.get_template("report.html.jinja").render(
        **_content(scores, title),
        figures=figures,
        examples=examples,
        material=material,
        docs=docs,
        system_of={name: system for system, name in tables.SYSTEMS.items()},
        short_name=tables.short_name,
        image_uri=cache(partial(media_uri, encode=encode_image)),
    )


def markdown_report(
    scores: Mapping,
    *,
    title: str,
    figures: Sequence[ReportFigure],
    directory: Path,
    report_file: str | None,
) -> str:
    """Composes RESULTS.md.

    Args:
        scores: Content of scores.json.
        title: Name of the experiment.
        figures: What ``draw_all`` returned.
        directory: Folder of the page.
        report_file: Name of report.html beside it, if there is one.
    """
    files = [(figure, Path(os.path.relpath(figure.svg, directory))) for figure in figures]
    return TEMPLATES.get_template("results.md.jinja").render(
        **_content(scores, title), figures=files, report_file=report_file
    )


def _content(scores: Mapping, title: str) -> dict[str, Any]:
    intervals = look_up(scores, ("intervals", "keywords")) or {}
    return {
        "scores": scores,
        "title": title,
        "heading": f"{scores['architecture'].capitalize()}: what it finds and hears",
        "retrieval_tables": tables.retrieval_tables(scores),
        "hard_negative_table": tables.hard_negative_table(scores["hard_negatives"])
        if "hard_negatives" in scores
        else None,
        "speech_text_tables": tables.speech_text_tables(scores),
        "language_table": tables.language_table(scores["languages"])
        if "languages" in scores
        else None,
        "keyword_table": tables.keyword_table(scores["keywords"], intervals)
        if "keywords" in scores
        else None,
        "weight": look_up(scores, ("fusion", "weight_of_parallel")),
        "sections": SECTIONS,
        "warnings": tables.warnings_of(scores),
        "word_error_rate": look_up(scores, ("asr", "word_error_rate")),
        "versions": ", ".join(f"{name} {v}" for name, v in scores["environment"].items()),
    }
