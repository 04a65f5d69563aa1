"""Reads a training's epochs and their cost from its train.log."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_EPOCH = re.compile(r"(\d+)epoch results: \[train\] (.*?)(?:, \[valid\] (.*))?$")
_VALUE = re.compile(r"([\w@]+)=([-+]?[\d.]+(?:e[-+]?\d+)?)(?=,|$)")


class Epoch(NamedTuple):
    """Numbers that ESPnet reports of an epoch, by name; ``valid`` is empty without validation."""

    number: int
    train: Mapping[str, float]
    valid: Mapping[str, float]


def read_epochs(experiment: str | Path) -> list[Epoch]:
    """Epochs of all logs in an experiment's folder, in order; none if no log has any."""
    # oldest first, so the epochs of a resumed training win
    logs = sorted(Path(experiment).glob("train*.log"), key=lambda path: path.stat().st_mtime)
    epochs: dict[int, Epoch] = {}
    for log in logs:
        with log.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if found := _EPOCH.search(line.rstrip("\n")):
                    number = int(found[1])
                    epochs[number] = Epoch(number, _values(found[2]), _values(found[3] or ""))
    return [epochs[number] for number in sorted(epochs)]


def training_cpu_seconds(epochs: Sequence[Epoch]) -> float | None:
    """Process time of all training epochs (not of validation), or None if no log has it."""
    known = [spent for each in epochs if (spent := each.train.get("cpu_seconds")) is not None]
    return sum(known) if known else None


def _values(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in _VALUE.findall(text)}
