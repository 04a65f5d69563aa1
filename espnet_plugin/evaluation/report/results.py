"""Writes ``scores.json``, ``RESULTS.md`` and ``report.html`` into an inference directory."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
import shutil
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from humanfriendly import format_size

from espnet_plugin.data.alignments import WORDS_CTM, Word, read_ctm
from espnet_plugin.data.hard_negatives import HARD_NEGATIVES
from espnet_plugin.data.inference_set import UTTERANCES, InferenceSet, read_inference_set
from espnet_plugin.data.scp import DataError
from espnet_plugin.evaluation.queries import choose_examples
from espnet_plugin.evaluation.report.material import read_material
from espnet_plugin.evaluation.report.page import ReportFigure, report_page, results_page
from espnet_plugin.evaluation.report.tables import look_up
from espnet_plugin.evaluation.scores.files import write_json
from espnet_plugin.evaluation.scores.keywords import score_keywords_directory
from espnet_plugin.evaluation.scores.retrieval import (
    hard_negative_scores,
    rank_set,
    score_retrieval_directory,
)
from espnet_plugin.evaluation.training_log import training_cpu_seconds
from espnet_plugin.utils.architectures import architecture_name
from espnet_plugin.utils.atomic import write_text

SCORES_FILE = "scores.json"
RESULTS_FILE = "RESULTS.md"
REPORT_FILE = "report.html"
_DOCS = Path(__file__).parents[3] / "docs" / "evaluation.md"
_PACKAGES = ("torch", "espnet", "open_clip_torch", "transformers", "numpy")


def write_results(
    inference_dir: str | Path,
    *,
    test_set: str | None = None,
    dev_set: str | None = None,
    experiment: str | Path | None = None,
    data_dir: str | Path | None = None,
    token_list: str | Path | None = None,
    figures: bool = True,
    report: bool = True,
) -> dict:
    """Scores a set and writes the report.

    Args:
        inference_dir: Directory that holds one directory per set.
        test_set: Name of the set to report; not needed if only one set is not a dev set.
        dev_set: Name of the set that decides the fusion's weight; without one there is no fusion.
        experiment: Experiment directory; by default the parent of ``inference_dir``. Its
            config.yaml has architecture and seed, its stage_seconds.json the seconds of each stage.
        data_dir: Data directory of the test set: recordings, images, alignments.
        token_list: tokens.tsv of the keyword vocabulary.
        figures: Whether to draw.
        report: Whether to write report.html; if not, an earlier one is removed.

    Returns:
        What was written to scores.json.
    """
    inference_dir = Path(inference_dir)
    experiment = Path(experiment) if experiment else inference_dir.parent
    data_dir = Path(data_dir) if data_dir else None
    directory = inference_dir / (test_set or _only_test_set(inference_dir))
    if data_dir and (data_dir / HARD_NEGATIVES).exists():
        shutil.copyfile(data_dir / HARD_NEGATIVES, directory / HARD_NEGATIVES)
    data = read_inference_set(directory)

    dev = inference_dir / dev_set if dev_set else None
    retrieval = score_retrieval_directory(directory, dev_directory=dev, data_dir=data_dir)
    config = _read_config(experiment)
    scores = {
        "test_set": directory.name,
        "architecture": architecture_name(config or _guessed_config(data.branches)),
        "seed": config.get("seed"),
        **retrieval,
    }

    weight = choices(retrieval).get("fusion_weight")
    if data.hard_negatives:
        scores["hard_negatives"] = hard_negative_scores(data, fusion_weight=weight)
    if data.keywords:
        _add_keyword_scores(scores, data, dev, data_dir, token_list=token_list)
    spent = training_cpu_seconds(experiment)
    if spent is not None:
        scores["training_cpu_seconds"] = spent
    scores["seconds"] = _read_json(experiment / "stage_seconds.json")
    scores["environment"] = environment()
    write_json(inference_dir / SCORES_FILE, scores)

    drawn: list[ReportFigure] = []
    material = read_material(data, data_dir)
    if figures:
        try:
            from espnet_plugin.evaluation.report.figures import draw_all

            drawn = draw_all(data, material.audio, _read_words(data_dir))
        except ImportError as error:
            logging.warning(f"no figures ({error}): pip install matplotlib (extra: recipe)")
    text = results_page(
        scores,
        title=experiment.name,
        figures=drawn,
        directory=inference_dir,
        report_file=REPORT_FILE if report else None,
    )
    write_text(inference_dir / RESULTS_FILE, text)
    if report:
        page = report_page(
            scores,
            title=experiment.name,
            figures=drawn,
            examples=choose_examples(data, rank_set(data, fusion_weight=weight)),
            material=material,
            docs=quote(os.path.relpath(_DOCS, inference_dir)) if _DOCS.exists() else None,
        )
        write_text(inference_dir / REPORT_FILE, page)
        size = format_size(len(page.encode()), binary=True)
        logging.info(f"{inference_dir / REPORT_FILE}: {size}")
    else:
        (inference_dir / REPORT_FILE).unlink(missing_ok=True)
    return scores


def _add_keyword_scores(
    scores: dict, data: InferenceSet, dev: Path | None, data_dir: Path | None, **options: Any
) -> None:
    if dev is not None:
        options["chosen_on"] = read_inference_set(dev).keywords
    ctm = data_dir / WORDS_CTM if data_dir and (data_dir / WORDS_CTM).exists() else None
    try:
        keywords = score_keywords_directory(data.directory, words_ctm=ctm, **options)
    except DataError as error:
        logging.warning(f"keywords are scored without their places: {error}")
        keywords = score_keywords_directory(data.directory, **options)
    scores.setdefault("intervals", {})["keywords"] = keywords.pop("intervals", {})
    scores["keywords"] = keywords


def _read_words(data_dir: Path | None) -> dict[str, list[Word]]:
    if data_dir is None or not (data_dir / WORDS_CTM).exists():
        return {}
    try:
        return read_ctm(data_dir / WORDS_CTM)
    except DataError as error:
        logging.warning(f"figures are drawn without word alignments: {error}")
        return {}


def environment() -> dict[str, str]:
    """Versions of Python and the packages that numbers depend on, and the commit, if any."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    commit = checkout_commit(Path(__file__).resolve().parents[3])  # a link leads to the checkout
    if commit:
        found["commit"] = commit
    return found


def checkout_commit(root: Path) -> str | None:
    """The first 12 digits of the commit that is checked out in a folder; None without one.

    Git does not search upwards: an installed package may be inside another project's checkout.
    """
    command = ["git", "--git-dir", root / ".git", "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout[:12]


def read_results(path: str | Path) -> dict:
    """Reads the scores.json that ``write_results`` wrote.

    Raises:
        ValueError: It is not one.
    """
    try:
        scores = json.loads(Path(path).read_text(encoding="utf-8"))
        scores["architecture"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a scores.json: {error}") from error
    return scores


def choices(scores: Mapping) -> dict[str, float]:
    """What dev chose, by the names of ``model_conf``: ``min_score`` and ``fusion_weight``."""
    found = {
        "min_score": look_up(scores, ("keywords", "reported", "min_score")),
        "fusion_weight": look_up(scores, ("fusion", "weight_of_parallel")),
    }
    return {name: value for name, value in found.items() if value is not None}


def _read_config(experiment: Path) -> dict:
    path = experiment / "config.yaml"
    if not path.exists():
        logging.warning(f"{path} is missing: architecture is guessed, seed is unknown")
        return {}
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def _guessed_config(branches: Collection[str]) -> dict:
    """What a model may have been that gave these embeddings; with cls, of two extractors."""
    return {
        "model_conf": {"parallel": "parallel" in branches},
        "keyword_extractor": "cls" if "cascaded" in branches else "none",
    }


def _only_test_set(inference_dir: Path) -> str:
    sets = sorted(path.parent.name for path in inference_dir.glob(f"*/{UTTERANCES}"))
    tests = [name for name in sets if "test" in name] or sets
    if len(tests) != 1:
        raise ValueError(f"{inference_dir} holds the sets {sets}: say which to report (test_set)")
    return tests[0]


def _read_json(path: Path) -> dict:
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        logging.warning(f"{path} is damaged: no times are reported")
        return {}
