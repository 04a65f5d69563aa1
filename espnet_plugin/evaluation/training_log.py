"""Reads the cost of a training from its train.log."""

from __future__ import annotations

import re
from pathlib import Path

_TRAINED = re.compile(
    r"(\d+)epoch results: \[train\] (?:[^\[]*, )?cpu_seconds=([\d.]+(?:e[-+]\d+)?)"
)


def training_cpu_seconds(experiment: str | Path) -> float | None:
    """Process time of all training epochs (not of validation), or None if no log has it."""
    # oldest first, so the epochs of a resumed training win
    logs = sorted(Path(experiment).glob("train*.log"), key=lambda path: path.stat().st_mtime)
    spent: dict[str, float] = {}
    for log in logs:
        with log.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if found := _TRAINED.search(line):
                    spent[found[1]] = float(found[2])
    return sum(spent.values()) if spent else None
