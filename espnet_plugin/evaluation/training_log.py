"""Reads the course of a training from its train.log."""

from __future__ import annotations

import re
from pathlib import Path

CPU_SECONDS = "cpu_seconds"
Curves = dict[str, dict[str, list[tuple[float, float]]]]  # measure → phase → (epoch, value)

_RESULTS = re.compile(r"(\d+)epoch results: (.*)")
_PHASE = re.compile(r"\[(\w+)\] ")
_VALUE = re.compile(r"([\w@./-]+)=([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf))(?=,|\s*$|\s)")
_NO_MEASURE = frozenset({"time", "total_count", "epoch", "iter_epoch"})


def read_training_curves(experiment: str | Path) -> Curves:
    """Reads one value per epoch of every measure, from train.log and its rotated forms.

    Raises:
        FileNotFoundError: No epoch is finished.
    """
    # oldest first, so a resumed training wins
    logs = sorted(Path(experiment).glob("train*.log"), key=lambda path: path.stat().st_mtime)
    curves: Curves = {}
    for log in logs:
        _read_log(log, curves)
    if not curves:
        raise FileNotFoundError(f"{experiment} has no train.log with finished epochs")
    return {
        name: {phase: sorted(points) for phase, points in phases.items()}
        for name, phases in sorted(curves.items())
    }


def training_cpu_seconds(experiment: str | Path) -> float | None:
    """Process time of all training epochs (not of validation), or None if no log has it."""
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
