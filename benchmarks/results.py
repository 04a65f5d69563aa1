"""Updates the benchmarks' results in a JSON file and the page made from it."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, Spread
from espnet_plugin.utils.atomic import write_text

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.json"
HEAD = """# Benchmarks

These measurements back the claims about speed and memory.

    make bench                                 # all; ten minutes
    make bench ARGS="--only search start_up"   # some; the page keeps the others
    make bench ARGS=--list                     # what there is, and how long it takes
    python -m benchmarks.plan                  # what more images or hours need

Each row compares our code with the **obvious form**, which the benchmark writes out, and with the
**bound**: work that every solution must do. They run in turn in one process. A cell has the
median and, in brackets, the minimum and maximum.

Seconds are processor time unless a row says otherwise; other programs disturb it less. Weights are
random, sizes are real. [Speed and memory of training](training_speed.md) explains the figures.
"""


def machine(threads: int) -> dict[str, Any]:
    """Describes the machine and the date of a measurement."""
    import torch

    cpu = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpu.read_text()) if cpu.exists() else None
    return {
        "date": date.today().isoformat(),
        "processor": found[1] if found else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def update(path: Path, name: str, title: str, where: dict[str, Any], rows: Sequence[Row]) -> None:
    """Replaces a benchmark's rows in ``path`` and in the page beside it."""
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    results[name] = {"title": title, "measured": where, "rows": [asdict(row) for row in rows]}
    write_text(path, json.dumps(dict(sorted(results.items())), indent=1, ensure_ascii=False) + "\n")
    write_text(path.with_suffix(".md"), page(results))


def page(results: dict[str, Any]) -> str:
    """All results as Markdown."""
    parts = [HEAD]
    for name, result in sorted(results.items()):
        where = result["measured"]
        parts += [
            f"## {result['title']}\n",
            f"`--only {name}`: {where['processor']}, {where['threads']} of {where['cores']} cores, "
            f"PyTorch {where['torch']}, Python {where['python']}, {where['date']}\n",
            table([row_of(row) for row in result["rows"]]) + "\n",
        ]
    return "\n".join(parts)


def row_of(values: dict[str, Any]) -> Row:
    """A row as JSON has it."""
    for name in ("ours", "baseline", "bound"):
        values = values | {name: values[name] and Spread(**values[name])}
    return Row(**values)


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    lines = ["| | ours | the obvious form | the bound |", "|---|---|---|---|"]
    for row in rows:
        what = row.what + (f" ({row.note})" if row.note else "")
        baseline = bound = ""
        if row.baseline:
            factor = digits(row.baseline.median / row.ours.median)
            baseline = f"{shown(row.baseline)}, **{factor} ×**: {row.baseline_is}"
        if row.bound:
            factor = digits(row.ours.median / row.bound.median)
            bound = f"{shown(row.bound)}, ours {factor} ×: {row.bound_is}"
        lines.append(f"| {what} | {shown(row.ours)} | {baseline} | {bound} |")
    return "\n".join(lines)


def shown(spread: Spread) -> str:
    """Seconds with their unit and spread, below one as milliseconds."""
    factor, unit = (1000.0, "ms") if spread.median < 1 else (1.0, "s")
    text = f"{digits(spread.median * factor)} {unit}"
    if spread.turns > 1:
        text += f" ({digits(spread.low * factor)}–{digits(spread.high * factor)})"
    return text


def digits(value: float) -> str:
    """Three significant digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
