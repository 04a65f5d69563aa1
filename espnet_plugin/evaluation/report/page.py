"""Composes ``report.html`` and ``RESULTS.md`` from scores, figures and queries."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import jinja2
import yaml

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

SETTINGS = (  # what makes up a model and its training
    *("speech_encoder", "speech_encoder_conf", "clip_conf", "model_conf"),
    *("keyword_extractor", "keyword_extractor_conf", "attention", "attention_conf"),
    *("quantizer", "quantizer_conf", "loss", "loss_conf", "optim", "optim_conf", "scheduler"),
    *("scheduler_conf", "batch_size", "accum_grad", "max_epoch", "seed"),
)
_LONG_LIST = 12
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("espnet_plugin.evaluation.report", ""),
    autoescape=jinja2.select_autoescape(["html.jinja"], default=False),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the report.

    Attributes:
        name: Name of its files, without suffix.
        title: A few words.
        meaning: How to read it.
        section: Heading in docs/evaluation.md that says more, as in its address.
        png: The file, with an SVG beside it.
        utterance: The utterance that is drawn over time, if any.
        timeline: For such a figure, where its panels are, as shares of its size: ``left`` and
            ``right`` from the left edge, ``top`` and ``bottom`` from that edge. ``seconds`` is the
            time at the right.
    """

    name: str
    title: str
    meaning: str
    section: str
    png: Path
    utterance: str | None = None
    timeline: Mapping[str, float] | None = None


def report_page(
    scores: Mapping,
    *,
    title: str,
    config: Mapping,
    figures: Sequence[ReportFigure],
    examples: Mapping[str, Sequence[Query]],
    listing: Mapping | None,
    material: Material,
    docs: str | None,
) -> str:
    """Composes report.html; only the media of its search are in a folder beside it.

    Args:
        scores: Content of scores.json.
        title: Name of the experiment.
        config: Its config.yaml; may be empty.
        figures: What ``draw_all`` returned.
        examples: What ``choose_examples`` returned.
        listing: What ``utterance_list`` returned; None leaves the search out.
        material: Recordings, images and texts.
        docs: Address of docs/evaluation.md, relative to the page; None if it is missing.
    """
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
        settings=_yaml({key: config[key] for key in SETTINGS if config.get(key) is not None}),
        config=_yaml(config),
        audio_uri=partial(media_uri, encode=encode_recording),
        image_uri=cache(partial(media_uri, encode=encode_image)),
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
        directory: Folder of the page.
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


def _yaml(config: Mapping) -> str:
    return yaml.safe_dump(_shortened(config), sort_keys=False, allow_unicode=True) if config else ""


def _shortened(value: Any) -> Any:
    """A copy in which long lists (the keyword vocabulary) are cut."""
    if isinstance(value, Mapping):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list) and len(value) > _LONG_LIST:
        return [*value[:_LONG_LIST], f"… {len(value) - _LONG_LIST} more"]
    return value
