"""Writes ``scores.json``, ``RESULTS.md`` and ``report.html`` into an inference directory."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path
from urllib.parse import quote

import yaml
from humanfriendly import format_size

from espnet_plugin.data.alignments import WORDS_CTM
from espnet_plugin.data.hard_negatives import HARD_NEGATIVES
from espnet_plugin.data.inference_set import UTTERANCES, InferenceSet, read_inference_set
from espnet_plugin.evaluation.ladder import score_ladder
from espnet_plugin.evaluation.queries import choose_examples
from espnet_plugin.evaluation.report.material import read_material
from espnet_plugin.evaluation.report.page import report_page, results_page
from espnet_plugin.evaluation.report.report_figure import ReportFigure
from espnet_plugin.evaluation.report.utterance_list import utterance_list
from espnet_plugin.evaluation.scores.directory import (
    KEYWORD_SCORES,
    current_keyword_scores,
    current_retrieval_scores,
)
from espnet_plugin.evaluation.scores.files import read_scores, write_json
from espnet_plugin.evaluation.scores.retrieval import hard_negative_scores, rank_set
from espnet_plugin.evaluation.training_log import training_cpu_seconds
from espnet_plugin.utils.architectures import architecture_name
from espnet_plugin.utils.atomic import write_text

SCORES_FILE = "scores.json"
RESULTS_FILE = "RESULTS.md"
REPORT_FILE = "report.html"
MEDIA_DIR = "report_media"
_ROOT = Path(__file__).parents[3]
_DOCS = _ROOT / "docs" / "evaluation.md"
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
    """Collects what stage 9 scored (scoring what is missing or stale) and writes the report.

    Args:
        inference_dir: Directory that holds one directory per set.
        test_set: Name of the set to report; may be left out when only one is no dev set.
        dev_set: Name of the set on which the fusion's weight is chosen, if it has to be.
        experiment: Experiment directory; by default the parent of ``inference_dir``. Its
            config.yaml says architecture and seed, its stage_seconds.json what each stage took.
        data_dir: Data directory of the test set: audio, pictures and alignments of the figures.
        token_list: tokens.tsv of the keyword vocabulary.
        figures: Whether to draw.
        report: Whether to write report.html; without, that of earlier scores is removed.

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
    retrieval = current_retrieval_scores(directory, dev_directory=dev)
    config = _read_config(experiment)
    scores = {
        "test_set": directory.name,
        "architecture": architecture_name(config or _guessed_config(data.branches)),
        "seed": config.get("seed"),
        **retrieval,
    }

    weight = retrieval.get("fusion", {}).get("weight_of_parallel")
    if data.hard_negatives:
        scores["hard_negatives"] = hard_negative_scores(data, fusion_weight=weight)
    if data.keywords:
        _add_keyword_scores(scores, data, data_dir=data_dir, token_list=token_list)
    spent = training_cpu_seconds(experiment)
    if spent is not None:
        scores["training_cpu_seconds"] = spent
    scores["seconds"] = _read_json(experiment / "stage_seconds.json")
    scores["environment"] = environment()
    write_json(inference_dir / SCORES_FILE, scores)

    drawn: list[ReportFigure] = []
    ranks = rank_set(data, fusion_weight=weight)
    material = read_material(data, data_dir)
    if figures:
        try:
            from espnet_plugin.evaluation.report.figures import draw_all

            drawn = draw_all(
                data,
                ranks,
                material,
                experiment=experiment,
                data_dir=data_dir,
                ladder=scores.get("ladder"),
            )
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
        listing = None
        if data.branches:
            listing = utterance_list(data, ranks, material, inference_dir / MEDIA_DIR)
        page = report_page(
            scores,
            title=experiment.name,
            config=config,
            figures=drawn,
            examples=choose_examples(data, ranks),
            listing=listing,
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
    scores: dict, data: InferenceSet, *, data_dir: Path | None, token_list: str | Path | None
) -> None:
    ctm = data_dir / WORDS_CTM if data_dir else None
    _, made_with = read_scores(data.directory / KEYWORD_SCORES)
    if "words_ctm" in made_with or not (ctm and ctm.exists()):
        ctm = None  # the alignments of the last scoring, if there were any
    keywords = current_keyword_scores(data.directory, token_list=token_list, words_ctm=ctm)
    scores.setdefault("intervals", {})["keywords"] = keywords.pop("intervals", {})
    scores["keywords"] = keywords
    try:
        scores["ladder"] = score_ladder(data, token_list=token_list)
    except FileNotFoundError:
        pass  # it was not asked for
    except ValueError as error:
        logging.warning(f"the ladder is left out: {error}")


def environment() -> dict[str, str]:
    """Versions of Python and the packages that numbers depend on, and the commit, if any."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    source = Path(__file__).resolve()  # also where the package is a link into the checkout
    commit = checkout_commit(source, root=source.parents[3])
    if commit:
        found["commit"] = commit
    return found


def checkout_commit(source: Path, *, root: Path) -> str | None:
    """Commit of the checkout that a source file belongs to, 12 digits; None without one.

    Git is not asked to search upwards: an installed package may be inside another project's
    checkout, whose commit says nothing about this code.

    Args:
        source: File of this package.
        root: Root of the checkout, if it is one.
    """
    inside = source.relative_to(root).as_posix()
    try:
        result = subprocess.run(
            # The second name fails where the commit does not hold the file.
            ["git", "--git-dir", root / ".git", "rev-parse", "HEAD", f"HEAD:{inside}"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout[:12]


def read_results(path: str | Path) -> dict:
    """Reads the scores.json that ``write_results`` wrote.

    Raises:
        ValueError: It is none.
    """
    try:
        scores = json.loads(Path(path).read_text(encoding="utf-8"))
        scores["architecture"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no scores.json: {error}") from error
    return scores


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
