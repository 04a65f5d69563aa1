"""Trains and evaluates one upstream on one SUPERB task, each in its own process."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from espnet_plugin.data.record import (
    Record,
    differences,
    make_record,
    read_record,
    write_record,
)
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.hashing import content_hash, on_disk, stamp
from espnet_plugin.utils.small_files import read_json
from s3prl_upstream.superb.tasks import Task

logger = logging.getLogger(__name__)

RESULT = "result.json"


class RunError(RuntimeError):
    """A run that failed; the message names its log."""


@dataclass(frozen=True)
class Upstream:
    """An upstream of s3prl.

    Attributes:
        label: Name of its row in the table.
        name: Name in ``s3prl.hub``.
        checkpoint: Value of the runner's option ``-k``, if there is one.
    """

    label: str
    name: str
    checkpoint: str | None = None

    @classmethod
    def parse(cls, text: str) -> Upstream:
        """Reads ``NAME``, ``NAME=CHECKPOINT`` or ``LABEL:NAME=CHECKPOINT``.

        Raises:
            ValueError: If it has another form.
        """
        match = re.fullmatch(r"(?:([\w.+-]+):)?(\w+)(?:=(.+))?", text)
        if match is None:
            raise ValueError(
                f"upstream {text!r}: write NAME, NAME=CHECKPOINT or LABEL:NAME=CHECKPOINT"
            )
        label, name, checkpoint = match.groups()
        return cls(label or name, name, checkpoint)


@dataclass(frozen=True)
class Settings:
    """Settings of all runs.

    Attributes:
        directory: Folder of the experiments, which are in ``<label>/<task>``.
        steps: Number of updates for a trial, which also switches gradient accumulation off; by
            default both are SUPERB's.
        seed: Seed of s3prl's runner.
        device: Device, cpu or cuda; by default a GPU where there is one.
        workers: Number of processes that read data, by default the configured one.
    """

    directory: Path
    steps: int | None = None
    seed: int = 1337
    device: str | None = None
    workers: int | None = None


def run_task(
    task: Task, upstream: Upstream, data: Mapping[str, object], settings: Settings
) -> dict[str, float]:
    """Computes the scores of an upstream on a task; resumes where an earlier call stopped.

    Args:
        task: Task to train and evaluate.
        upstream: Upstream to evaluate.
        data: Options for ``-o``, which name the corpus and may change others.
        settings: Settings of all runs.

    Returns:
        The metrics by name, in the units of SUPERB's table, as means over folds.

    Raises:
        RunError: If training or evaluation fails.
    """
    chosen_fold = any(key.endswith(".test_fold") for key in data)
    folds = ("",) if chosen_fold or not task.folds else task.folds
    scores = []
    for fold in folds:
        name = "_".join(part for part in (task.name, fold) if part)
        directory = settings.directory / upstream.label / name
        scores.append(_run_once(task, upstream, data, settings, directory, fold))
    return {name: sum(score[name] for score in scores) / len(scores) for name in scores[0]}


def _run_once(
    task: Task,
    upstream: Upstream,
    data: Mapping[str, object],
    settings: Settings,
    directory: Path,
    fold: str,
) -> dict[str, float]:
    result = directory / RESULT
    overrides = _overrides(task, data, settings)
    options = {"upstream": upstream.name, "fold": fold, "seed": settings.seed, **overrides}
    record = _record(task, options, upstream.checkpoint)
    if before := read_record(directory):
        if found := differences(before, record):
            raise RunError(
                f"{directory} holds a run of something else: {'; '.join(found)}. Give this one a "
                "label of its own, LABEL:NAME=MODEL, or remove the folder"
            )
    elif result.is_file() or (directory / "trained").is_file():
        logger.warning(f"{directory}: what made the run in it is not known; it is kept")
    directory.mkdir(parents=True, exist_ok=True)
    if result.is_file():
        logger.info(f"{upstream.label} {task.name} {fold}: already done, {result}")
        return read_json(result)["metrics"]
    write_record(directory, record)
    common = ["-o", overrides_text(overrides)]
    if settings.device:
        common += ["--device", settings.device]
    new = ["-u", upstream.name, "-d", task.downstream, "-c", str(task.config_file)]
    new += ["-p", str(directory), "--seed", str(settings.seed), *common]
    if upstream.checkpoint:
        new += ["-k", upstream.checkpoint]
    if fold:
        new += ["-v", fold]
    if not task.trains:
        output = _call(
            ["-m", "evaluate", "-t", task.split, "-l", "-1", *new], directory / "evaluate.log"
        )
        metrics = _metrics(task, output, directory / "evaluate.log")
    else:
        if not (directory / "trained").is_file():
            _call(["-m", "train", "-a", *new], directory / "train.log")
            write_text(directory / "trained", "")
        scores = []
        for number, checkpoint in enumerate(_checkpoints(directory, task)):
            log = directory / f"evaluate{number or ''}.log"
            past = ["-e", str(checkpoint)]
            output = _call(["-m", "evaluate", "-t", task.split, *past, *common], log)
            scores.append(_metrics(task, output, log))
        main = task.metrics[0]
        choose = max if main.is_higher_better else min
        metrics = choose(scores, key=lambda score: score[main.name])
    content = {"task": task.name, "upstream": asdict(upstream), "fold": fold, "metrics": metrics}
    write_text(result, json.dumps(content, indent=2) + "\n")
    return metrics


def _record(task: Task, options: Mapping[str, object], checkpoint: str | None) -> Record:
    """The record of a run; a folder counts by the names, sizes and times of its files."""
    named = {"checkpoint": checkpoint, "configuration": task.config_file, **options}
    inputs: dict[str, Any] = {"checkpoint": checkpoint}
    for name, value in named.items():
        if on_disk(value):
            inputs[name] = value
            if (folder := Path(str(value))).is_dir():
                files = sorted(file for file in folder.rglob("*") if file.is_file())
                stamps = [[str(file.relative_to(folder)), stamp(file)] for file in files]
                inputs[name] = (str(value), content_hash(stamps))
    counting = {name: value for name, value in options.items() if name != task.workers}
    return make_record("SUPERB", {"task": task.name, **counting}, inputs=inputs)


def _overrides(task: Task, data: Mapping[str, object], settings: Settings) -> dict[str, object]:
    overrides: dict[str, object] = {}
    if settings.steps is not None and task.trains:
        overrides |= {
            "config.runner.total_steps": settings.steps,
            "config.runner.log_step": max(1, settings.steps // 10),
            "config.runner.eval_step": max(1, settings.steps // 4),
            "config.runner.save_step": max(1, settings.steps // 4),
            "config.runner.gradient_accumulate_steps": 1,
        }
    if settings.workers is not None:
        overrides[task.workers] = settings.workers
    return {**overrides, **data}


def overrides_text(overrides: Mapping[str, object]) -> str:
    """Makes the value of s3prl's ``-o``.

    Raises:
        ValueError: If a value contains s3prl's separators.
    """
    parts = []
    for key, value in overrides.items():
        text = str(Path(value).absolute()) if isinstance(value, Path) else str(value)
        if "=" in text or ",," in text:
            raise ValueError(f"{key}: s3prl cannot take {text!r}, which contains '=' or ',,'")
        parts.append(f"{key}={text}")
    return ",,".join(parts)


def _checkpoints(directory: Path, task: Task) -> list[Path]:
    """The checkpoint that is best on dev, or else the latest; for a task without dev, all."""
    if task.best and (directory / task.best).is_file():
        return [directory / task.best]
    states = sorted(directory.glob("states-*.ckpt"), key=lambda path: int(path.stem.split("-")[1]))
    if not states:
        raise RunError(f"{directory}: training wrote no checkpoint; see train.log")
    if not task.best:
        return states
    logger.warning(f"{directory}: no best checkpoint; the last one counts, {states[-1].name}")
    return states[-1:]


def _metrics(task: Task, output: str, log: Path) -> dict[str, float]:
    found = {metric.name: metric.find(output) for metric in task.metrics}
    metrics = {name: value for name, value in found.items() if value is not None}
    if len(metrics) < len(found):
        raise RunError(f"{log} contains no score")
    return metrics


def _call(arguments: Sequence[str], log: Path) -> str:
    command = [sys.executable, "-m", "s3prl_upstream.run_downstream", *arguments]
    logger.info(f"{log.parent}: {arguments[1]}, log in {log.name}")
    with open(log, "w", encoding="utf-8") as file:
        code = subprocess.call(command, stdout=file, stderr=subprocess.STDOUT)
    output = log.read_text(encoding="utf-8", errors="replace")
    if code:
        lines = [line for line in output.splitlines() if line.strip()]
        raise RunError(f"{log}: exit code {code}: {lines[-1] if lines else 'no output'}")
    return output
