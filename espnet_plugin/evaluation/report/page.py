"""Composes ``report.html`` and ``RESULTS.md`` from scores, figures and queries."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from espnet_plugin.evaluation.queries import Query
from espnet_plugin.evaluation.report import tables
from espnet_plugin.evaluation.report.material import Material
from espnet_plugin.evaluation.report.media import audio_uri, figure_uri, picture_uri
from espnet_plugin.evaluation.report.settings import main_settings, shortened
from espnet_plugin.evaluation.token_texts import is_content

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("espnet_plugin.evaluation.report", ""),
    autoescape=jinja2.select_autoescape(["html.jinja"], default=False),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)


def report_page(
    scores: Mapping,
    *,
    title: str,
    config: Mapping,
    figures: Mapping[str, Path],
    best: Sequence[Query],
    worst: Sequence[Query],
    material: Material,
) -> str:
    """Composes report.html; everything that it shows is inside.

    Args:
        scores: Content of scores.json.
        title: Name of the experiment.
        config: Its config.yaml; may be empty.
        figures: Caption → PNG, with an SVG beside it.
        best: Queries found best.
        worst: Queries found worst.
        material: Recordings, pictures and texts.
    """
    whole = yaml.safe_dump(shortened(config), sort_keys=True, allow_unicode=True) if config else ""
    return _TEMPLATES.get_template("report.html.jinja").render(
        **_content(scores, title),
        figures=figures,
        best=best,
        worst=worst,
        material=material,
        settings=main_settings(config),
        config=whole,
        audio_uri=audio_uri,
        figure_uri=figure_uri,
        picture_uri=picture_uri,
        is_content=is_content,
        look_up=tables.look_up,
    )


def results_page(
    scores: Mapping,
    *,
    title: str,
    figures: Mapping[str, Path],
    directory: Path,
    report_file: str | None,
) -> str:
    """Composes RESULTS.md.

    Args:
        scores: Content of scores.json.
        title: Name of the experiment.
        figures: Caption → PNG, with an SVG beside it.
        directory: Where the page will lie.
        report_file: Name of report.html beside it, if there is one.
    """
    places = {caption: Path(os.path.relpath(png, directory)) for caption, png in figures.items()}
    return _TEMPLATES.get_template("results.md.jinja").render(
        **_content(scores, title), figures=places, report_file=report_file
    )


def _content(scores: Mapping, title: str) -> dict[str, Any]:
    intervals = tables.look_up(scores, ("intervals", "keywords")) or {}
    return {
        "scores": scores,
        "title": title,
        "retrieval_tables": tables.retrieval_tables(scores),
        "speech_text_tables": tables.speech_text_tables(scores),
        "keyword_table": tables.keyword_table(scores["keywords"], intervals)
        if "keywords" in scores
        else None,
        "weight": tables.look_up(scores, ("fusion", "weight_of_parallel")),
        "word_error_rate": tables.look_up(scores, ("asr", "word_error_rate")),
        "versions": ", ".join(f"{name} {v}" for name, v in scores["environment"].items()),
    }
