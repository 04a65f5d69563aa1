"""Writes ``report.html`` next to RESULTS.md."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from humanfriendly import format_size

from espnet_plugin.data.scp import read_scp
from espnet_plugin.evaluation.inference_set import InferenceSet
from espnet_plugin.evaluation.keyword_file import has_captions, read_keywords
from espnet_plugin.evaluation.report.page import Material, compose
from espnet_plugin.evaluation.report.queries import best_and_worst
from espnet_plugin.evaluation.scores.retrieval import Ranks
from espnet_plugin.utils.atomic import write_text

REPORT_FILE = "report.html"


def write_report(
    path: str | Path,
    scores: Mapping,
    data: InferenceSet,
    ranks: Ranks,
    *,
    title: str,
    config: Mapping,
    figures: Mapping[str, Path],
    data_dir: Path | None = None,
    num_queries: int = 10,
) -> Path:
    """Writes the page; everything that it shows is inside.

    Args:
        path: The file.
        scores: Content of scores.json.
        data: The set.
        ranks: What ``rank_set`` returned for it.
        title: Name of the experiment.
        config: Its config.yaml.
        figures: Caption → PNG.
        data_dir: Data directory of the set: wav.scp, image.scp, text. Without it there are neither
            players nor pictures.
        num_queries: How many of the best and of the worst queries are shown.
    """
    path = Path(path)
    best, worst = best_and_worst(data, ranks, number=num_queries)
    text = compose(
        scores,
        title=title,
        config=config,
        figures=figures,
        best=best,
        worst=worst,
        material=read_material(data, data_dir),
    )
    write_text(path, text)
    logging.info(f"{path}: {format_size(len(text.encode()), binary=True)}")
    return path


def read_material(data: InferenceSet, data_dir: Path | None) -> Material:
    """Reads what a set's directories tell about its utterances and pictures."""

    def read(directory: Path | None, name: str) -> dict[str, str]:
        return read_scp(directory / name) if directory and (directory / name).exists() else {}

    keywords = {}
    if has_captions(data.directory / "keywords.jsonl"):
        keywords = {u.utterance: u for u in read_keywords(data.directory / "keywords.jsonl")}
    captions = {utterance: entry.caption for utterance, entry in keywords.items()}
    return Material(
        audio=read(data_dir, "wav.scp"),
        pictures=read(data_dir, "image.scp"),
        captions=captions | read(data_dir, "text"),
        transcripts=read(data.directory, "transcripts"),
        keywords=keywords,
    )
