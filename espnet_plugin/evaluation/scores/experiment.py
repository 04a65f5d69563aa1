"""All scores of a trained model: ``scores.json`` in an inference directory."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import subprocess
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from espnet_plugin.data.datadir import ALIGNMENTS, RECORDINGS
from espnet_plugin.data.inference_set import InferenceSet, read_inference_set
from espnet_plugin.data.record import make_record, read_record, write_record
from espnet_plugin.evaluation.fusion import branch_of
from espnet_plugin.evaluation.scores.files import write_json
from espnet_plugin.evaluation.scores.keyword_scores import score_keywords_directory
from espnet_plugin.evaluation.scores.retrieval import ACROSS, score_retrieval_directory
from espnet_plugin.evaluation.spoken import read_spoken
from espnet_plugin.evaluation.training_log import read_epochs, training_cpu_seconds
from espnet_plugin.utils.architectures import architecture_name
from espnet_plugin.utils.constants import CHOICES_FILE
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.small_files import look_up, read_json, read_yaml

SCORES_FILE = "scores.json"
_PACKAGES = ("torch", "espnet", "open_clip_torch", "transformers", "numpy")


def score_set(
    directory: Path,
    *,
    dev_directory: Path | None = None,
    data_dir: Path | None = None,
    train_dir: Path | None = None,
) -> dict:
    """Scores a set's retrieval, and its keywords if there are captions; writes ``scoring/`` in it.

    Args:
        directory: Directory of the set.
        dev_directory: Directory of the set that selects the weight of fusion and ``min_score``.
        data_dir: Data directory of the set, with utt2spk, utt2lang and alignments.
        train_dir: Data directory of the training set, whose images the dev set searches, too.
    """
    scores = score_retrieval_directory(
        directory, dev_directory=dev_directory, data_dir=data_dir, train_dir=train_dir
    )
    data = read_inference_set(directory)
    if data.captioned_keywords:
        _add_keyword_scores(scores, data, dev_directory, data_dir)
    return scores


def score_experiment(
    inference_dir: Path,
    experiment: Path,
    directory: Path,
    *,
    dev_set: str | None = None,
    data_dir: Path | None = None,
    train_dir: Path | None = None,
) -> dict:
    """Scores a set and writes ``scores.json``, and what was selected on dev as ``choices.json``.

    Both get a record. Without a dev set, an earlier ``choices.json`` stays.

    Args:
        inference_dir: Directory that holds one directory per set.
        experiment: Experiment directory. Its config.yaml has architecture and seed, its
            stage_seconds.json the seconds of each stage.
        directory: Directory of the set in it.
        dev_set: Name of the set that selects the weight of fusion; without one, there is no fusion.
        data_dir: Data directory of the set, with recordings, images and alignments.
        train_dir: Data directory of the training set, whose images the dev set searches, too.

    Returns:
        The content of ``scores.json``.
    """
    dev = inference_dir / dev_set if dev_set else None
    images = train_dir / "image_feat.scp" if dev and train_dir else None
    chosen_from = {**_made_of("dev", dev), "training's images": images}
    made_of = {**_made_of("test", directory), **chosen_from}
    if data_dir:
        tables = [data_dir / name for name in (*ACROSS, *ALIGNMENTS, RECORDINGS)]
        made_of |= {file.name: file for file in tables if file.exists()}
    record = make_record("scores", {"test_set": directory.name, "dev_set": dev_set}, inputs=made_of)
    chosen_record = make_record("scores", {"dev_set": dev_set}, inputs=chosen_from)
    config = _read_config(experiment)
    scores = {
        "date": date.today().isoformat(),
        "test_set": directory.name,
        "architecture": architecture_name(
            config or _guessed_config(read_inference_set(directory).branches)
        ),
        "seed": config.get("seed"),
        **score_set(directory, dev_directory=dev, data_dir=data_dir, train_dir=train_dir),
    }
    spent = training_cpu_seconds(read_epochs(experiment))
    if spent is not None:
        scores["training_cpu_seconds"] = spent
    scores["seconds"] = _read_json(experiment / "stage_seconds.json")
    scores["environment"] = environment()
    write_json(inference_dir / SCORES_FILE, scores)
    write_record(inference_dir / SCORES_FILE, record)
    if chosen := choices(scores):
        write_json(inference_dir / CHOICES_FILE, chosen)
        write_record(inference_dir / CHOICES_FILE, chosen_record)
    elif dev_set:
        (inference_dir / CHOICES_FILE).unlink(missing_ok=True)  # of another model
    return scores


def _made_of(name: str, directory: Path | None) -> dict[str, Any]:
    """What a set's outputs were made of, which shows whether the model has changed since."""
    record = read_record(directory) if directory else None
    found = {f"{name} {key}": (*value,) for key, value in (record.inputs if record else {}).items()}
    return {**found, name: directory}


def _add_keyword_scores(
    scores: dict, data: InferenceSet, dev: Path | None, data_dir: Path | None
) -> None:
    chosen_on = read_inference_set(dev).captioned_keywords if dev is not None else ()
    try:
        spoken = read_spoken(data_dir)
        keywords = score_keywords_directory(data.directory, spoken=spoken, chosen_on=chosen_on)
    except DataError as error:
        logging.warning(f"keywords are scored without their places: {error}")
        spoken = read_spoken(data_dir, times=False)
        keywords = score_keywords_directory(data.directory, spoken=spoken, chosen_on=chosen_on)
    scores.setdefault("intervals", {})["keywords"] = keywords.pop("intervals", {})
    scores["keywords"] = keywords


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
    """The first 12 digits of the commit that is checked out in a folder, or None without one.

    Git does not search upwards: an installed package may be inside another project's checkout.
    """
    command = ["git", "--git-dir", root / ".git", "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout[:12]


def read_scores(path: str | Path) -> dict:
    """Reads the scores.json that ``score_experiment`` wrote.

    Raises:
        ValueError: If the file is something else.
    """
    try:
        scores = read_json(path)
        scores["architecture"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a scores.json: {error}") from error
    return scores


def choices(scores: Mapping) -> dict[str, Any]:
    """What was selected on dev, as :class:`~espnet_plugin.pretrained.choices.Choices` names it."""
    weight = look_up(scores, ("fusion", "weight_of_parallel"))
    found = {
        "min_score": look_up(scores, ("keywords", "reported", "min_score")),
        "fusion_weight": weight,
        "branch": None if weight is None else branch_of(weight),
    }
    return {name: value for name, value in found.items() if value is not None}


def _read_config(experiment: Path) -> dict:
    path = experiment / "config.yaml"
    if not path.exists():
        logging.warning(f"{path} is missing: architecture is guessed, seed is unknown")
        return {}
    return read_yaml(path) or {}


def _guessed_config(branches: Collection[str]) -> dict:
    """A configuration that can give these embeddings; those of cls can come from two extractors."""
    return {
        "model_conf": {"parallel": "parallel" in branches},
        "keyword_extractor": "cls" if "cascaded" in branches else "none",
    }


def _read_json(path: Path) -> dict:
    if not path.exists():
        return {}
    try:
        return read_json(path)
    except ValueError:
        logging.warning(f"{path} is damaged: no times are reported")
        return {}
