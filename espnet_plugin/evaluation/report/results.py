"""Writes ``scores.json``, ``RESULTS.md`` and ``report.html`` into an inference directory."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

from espnet_plugin.evaluation.inference_set import read_inference_set
from espnet_plugin.evaluation.keyword_file import has_captions
from espnet_plugin.evaluation.report import tables
from espnet_plugin.evaluation.report.figures import draw_all
from espnet_plugin.evaluation.report.write import REPORT_FILE, write_report
from espnet_plugin.evaluation.scores.directory import (
    current_keyword_scores,
    current_retrieval_scores,
)
from espnet_plugin.evaluation.scores.files import write_json
from espnet_plugin.evaluation.scores.retrieval import rank_set
from espnet_plugin.utils.atomic import write_text

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
        report: Whether to write report.html.

    Returns:
        What was written to scores.json.
    """
    inference_dir = Path(inference_dir)
    experiment = Path(experiment) if experiment else inference_dir.parent
    data_dir = Path(data_dir) if data_dir else None
    directory = inference_dir / (test_set or _only_test_set(inference_dir))
    data = read_inference_set(directory)

    dev = inference_dir / dev_set if dev_set else None
    retrieval = current_retrieval_scores(directory, dev_directory=dev)
    config = _read_config(experiment)
    scores = {
        "test_set": directory.name,
        "architecture": architecture_name(config, data.branches),
        "seed": config.get("seed"),
        **retrieval,
    }

    if has_captions(directory / "keywords.jsonl"):
        ctm = data_dir / "words.ctm" if data_dir else None
        keywords = current_keyword_scores(
            directory, token_list=token_list, words_ctm=ctm if ctm and ctm.exists() else None
        )
        intervals = keywords.pop("intervals", {})
        scores["keywords"] = keywords
        scores.setdefault("intervals", {})["keywords"] = intervals
    scores["seconds"] = _read_json(experiment / "stage_seconds.json")
    scores["environment"] = environment()
    write_json(inference_dir / "scores.json", scores)

    drawn: dict[str, Path] = {}
    weight = retrieval.get("fusion", {}).get("weight_of_parallel")
    ranks = rank_set(data, fusion_weight=weight)
    if figures:
        drawn = draw_all(data, ranks, experiment=experiment, data_dir=data_dir)
    text = results_page(scores, drawn, inference_dir, experiment.name, report=report)
    write_text(inference_dir / "RESULTS.md", text)
    if report:
        write_report(
            inference_dir / REPORT_FILE,
            scores,
            data,
            ranks,
            title=experiment.name,
            config=config,
            figures=drawn,
            data_dir=data_dir,
        )
    return scores


def results_page(
    scores: Mapping,
    figures: Mapping[str, Path],
    inference_dir: Path,
    title: str,
    *,
    report: bool = False,
) -> str:
    """Composes RESULTS.md; ``report`` says whether report.html lies beside it."""
    listen = f" To look and listen: [{REPORT_FILE}]({REPORT_FILE})." if report else ""
    parts = [
        f"# Results of {title}",
        f"Architecture {scores['architecture']}, seed {scores['seed']}; set `{scores['test_set']}` "
        f"of {scores['utterances']} utterances, {scores['images']} images.{listen}",
        "## Retrieval",
        "recall@k in % and the median rank, with 95 % bootstrap intervals over images. In the "
        "teacher's row the written caption, read by CLIP's text tower, stands for the speech. An "
        "image has found its speech when any of its captions is among the first k. Ties count "
        "against the system. Chance is exact.",
        tables.retrieval_table(scores),
    ]
    weight = scores.get("fusion", {}).get("weight_of_parallel")
    if weight is not None:
        parts.append(
            f"Both branches: {weight:g} × parallel + {1 - weight:g} × cascaded, chosen on dev."
        )
    rate = scores.get("asr", {}).get("word_error_rate")
    if rate is not None:
        parts.append(
            "The recogniser's transcripts are read by CLIP's text tower; "
            f"{100 * rate:.1f} % of its words are wrong."
        )
    speech_text = tables.speech_text_tables(scores)
    if speech_text:
        parts += [
            "### Zero-shot, speech and text",
            "Captions of the same image are right.",
            *(table.markdown() for table in speech_text),
        ]
    if "keywords" in scores:
        intervals = scores.get("intervals", {}).get("keywords", {})
        table = tables.keyword_table(scores["keywords"], intervals)
        parts += ["## Keywords", table.markdown()]
    if figures:
        parts.append("## Figures")
    for caption, path in figures.items():
        place = Path(os.path.relpath(path, inference_dir)).as_posix()
        svg = place.removesuffix(".png") + ".svg"
        parts.append(f"### {caption}\n\n[![{caption}]({place})]({svg})")
    if scores["seconds"]:
        rows = [[str(stage), f"{seconds:.1f}"] for stage, seconds in scores["seconds"].items()]
        total = sum(scores["seconds"].values())
        table = tables.markdown_table(["stage", "s"], [*rows, ["all", f"{total:.1f}"]])
        parts += ["## Time", table]
    versions = ", ".join(f"{name} {version}" for name, version in scores["environment"].items())
    parts += ["## Environment", versions]
    return "\n\n".join(parts) + "\n"


def environment() -> dict[str, str]:
    """Versions of Python and the packages that numbers depend on, and the commit, if any."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    try:
        result = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        found["commit"] = result.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return found


def architecture_name(config: Mapping, branches: Mapping) -> str:
    """Names the architecture by its two switches, or by the branches found without a config."""
    parallel = config.get("model_conf", {}).get("parallel", "parallel" in branches)
    extractor = config.get("keyword_extractor")
    if extractor is None:
        extractor = "cls" if "cascaded" in branches else "none"
    if extractor == "none":
        return "parallel"
    name = "hybrid" if parallel else "cascaded"
    return name + {"cls": "", "cif": "+"}.get(extractor, f" ({extractor})")


def _read_config(experiment: Path) -> dict:
    path = experiment / "config.yaml"
    if not path.exists():
        logging.warning(f"{path} is missing: architecture is guessed, seed is unknown")
        return {}
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def _only_test_set(inference_dir: Path) -> str:
    sets = sorted(path.parent.name for path in inference_dir.glob("*/utterances.txt"))
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
