"""Composes ``report.html`` and ``RESULTS.md`` from scores, figures and queries."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import jinja2
import yaml

from espnet_plugin.evaluation.figures import colours
from espnet_plugin.evaluation.queries import Examples
from espnet_plugin.evaluation.report import tables
from espnet_plugin.evaluation.report.material import Material
from espnet_plugin.evaluation.report.media import (
    encode_picture,
    encode_recording,
    figure_uri,
    media_uri,
)
from espnet_plugin.evaluation.report.report_figure import ReportFigure
from espnet_plugin.evaluation.report.settings import main_settings, shortened

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("espnet_plugin.evaluation.report", ""),
    autoescape=jinja2.select_autoescape(["html.jinja"], default=False),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}


def report_page(
    scores: Mapping,
    *,
    title: str,
    config: Mapping,
    figures: Sequence[ReportFigure],
    examples: Examples,
    listing: Mapping | None,
    material: Material,
    docs: str | None,
) -> str:
    """Composes report.html; only the media of its search lie beside it.

    Args:
        scores: Content of scores.json.
        title: Name of the experiment.
        config: Its config.yaml; may be empty.
        figures: What ``draw_all`` returned.
        examples: Queries to look at.
        listing: What ``utterance_list`` returned; None leaves the search out.
        material: Recordings, pictures and texts.
        docs: Address of docs/evaluation.md, as seen from the page; None if it is not at hand.
    """
    whole = yaml.safe_dump(shortened(config), sort_keys=True, allow_unicode=True) if config else ""
    return _TEMPLATES.get_template("report.html.jinja").render(
        **_content(scores, title),
        figures=figures,
        examples=examples,
        listing=listing,
        material=material,
        docs=docs,
        colours=colours,
        system_of={name: system for system, name in tables.SYSTEMS.items()},
        short_name=tables.short_name,
        settings=main_settings(config),
        config=whole,
        audio_uri=partial(media_uri, encode=encode_recording),
        picture_uri=cache(partial(media_uri, encode=encode_picture)),
        figure_uri=figure_uri,
        keyword_kind=colours.keyword_kind,
        look_up=tables.look_up,
    )


def results_page(
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
        directory: Where the page will lie.
        report_file: Name of report.html beside it, if there is one.
    """
    files = [(figure, Path(os.path.relpath(figure.png, directory))) for figure in figures]
    return _TEMPLATES.get_template("results.md.jinja").render(
        **_content(scores, title), figures=files, report_file=report_file
    )


def _content(scores: Mapping, title: str) -> dict[str, Any]:
    intervals = tables.look_up(scores, ("intervals", "keywords")) or {}
    return {
        "scores": scores,
        "title": title,
        "retrieval_tables": tables.retrieval_tables(scores),
        "hard_negative_table": tables.hard_negative_table(scores["hard_negatives"])
        if "hard_negatives" in scores
        else None,
        "speech_text_tables": tables.speech_text_tables(scores),
        "keyword_table": tables.keyword_table(scores["keywords"], intervals)
        if "keywords" in scores
        else None,
        "ladder_tables": tables.ladder_tables(scores["ladder"]) if "ladder" in scores else [],
        "weight": tables.look_up(scores, ("fusion", "weight_of_parallel")),
        "word_error_rate": tables.look_up(scores, ("asr", "word_error_rate")),
        "versions": ", ".join(f"{name} {v}" for name, v in scores["environment"].items()),
    }
