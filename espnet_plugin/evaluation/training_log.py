"""Reads the course of a training from ESPnet's tensorboard files or its train.log."""

from __future__ import annotations

import logging
import re
from pathlib import Path

CPU_SECONDS = "cpu_seconds"
Curves = dict[str, dict[str, list[tuple[float, float]]]]  # measure → phase → (epoch, value)

_RESULTS = re.compile(r"(\d+)epoch results: (.*)")
_PHASE = re.compile(r"\[(\w+)\] ")
_VALUE = re.compile(r"([\w@./-]+)=([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf))(?=,|\s*$|\s)")
_NO_MEASURE = frozenset({"time", "total_count", "epoch", "iter_epoch"})


def read_training_curves(experiment: str | Path) -> Curves:
    """Reads one value per epoch of every measure that training reported.

    train.log (and its rotated train.1.log, ...) is preferred, since it needs no further package and
    counts in epochs; the tensorboard files are read where there is no such log, with steps for
    epochs.

    Raises:
        FileNotFoundError: The experiment holds neither.
    """
    experiment = Path(experiment)
    logs = sorted(
        experiment.glob("train*.log"), key=lambda path: path.stat().st_mtime
    )  # oldest first, so that a resumed training wins
    curves: Curves = {}
    for log in logs:
        _read_log(log, curves)
    if curves:
        return _sorted(curves)
    for phase in ("train", "valid"):
        _read_events(experiment / "tensorboard" / phase, phase, curves)
    if not curves:
        raise FileNotFoundError(
            f"{experiment} holds neither a train.log with finished epochs nor tensorboard/"
        )
    return _sorted(curves)


def training_cpu_seconds(experiment: str | Path) -> float | None:
    """Process time of all training epochs (not of validation), or None where no log says it."""
    try:
        spent = read_training_curves(experiment).get(CPU_SECONDS, {}).get("train")
    except FileNotFoundError:
        return None
    return sum(seconds for _, seconds in spent) if spent else None


def _read_log(path: Path, curves: Curves) -> None:
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            match = _RESULTS.search(line)
            if not match:
                continue
            epoch = int(match.group(1))
            parts = _PHASE.split(match.group(2))  # ["", phase, values, phase, values, ...]
            for phase, values in zip(parts[1::2], parts[2::2], strict=False):
                for name, value in _VALUE.findall(values):
                    if name not in _NO_MEASURE:
                        points = curves.setdefault(name, {}).setdefault(phase, [])
                        points[:] = [point for point in points if point[0] != epoch]
                        points.append((epoch, float(value)))


def _read_events(directory: Path, phase: str, curves: Curves) -> None:
    if not directory.is_dir():
        return
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        logging.warning(f"{directory} is left out: reading it needs pip install tensorboard")
        return
    events = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    events.Reload()
    for tag in events.Tags()["scalars"]:
        if tag not in _NO_MEASURE:
            points = [(event.step, event.value) for event in events.Scalars(tag)]
            curves.setdefault(tag, {})[phase] = points


def _sorted(curves: Curves) -> Curves:
    return {
        name: {phase: sorted(points) for phase, points in phases.items()}
        for name, phases in sorted(curves.items())
    }
