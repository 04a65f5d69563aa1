"""SUPERB's table of all results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_plugin.utils.small_files import read_json
from s3prl_upstream.superb.run import RESULT
from s3prl_upstream.superb.tasks import TASKS


def read_results(directory: Path) -> list[dict]:
    """All results below a directory of experiments."""
    return [read_json(path) for path in sorted(directory.glob(f"*/*/{RESULT}"))]


def table(results: Sequence[Mapping]) -> str:
    """SUPERB's table in Markdown, with the differences from SUPERB below it."""
    scores: dict[str, dict[str, list[Mapping[str, float]]]] = {}
    for result in results:
        row = scores.setdefault(result["upstream"]["label"], {})
        row.setdefault(result["task"], []).append(result["metrics"])
    columns = [task for task in TASKS.values() if any(task.name in row for row in scores.values())]
    heads = []
    for task in columns:
        metrics = " / ".join(
            f"{metric.name} {'↑' if metric.is_higher_better else '↓'}" for metric in task.metrics
        )
        heads.append(f"{task.name} {metrics}".strip())
    lines = [f"| upstream | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for label, row in scores.items():
        cells = []
        for task in columns:
            runs = row.get(task.name, [])
            values = [
                f"{sum(run[metric.name] for run in runs) / len(runs):.2f}"
                for metric in task.metrics
                if runs
            ]
            cells.append(" / ".join(values) or ("written" if runs else "–"))
        lines.append(f"| {label} | {' | '.join(cells)} |")
    lines.append("")
    lines += [f"{task.name}: {task.note}." for task in columns if task.note]
    lines += [
        f"{task.name}: folds in the mean: {len(row[task.name])} of {len(task.folds)} ({label})."
        for task in columns
        for label, row in scores.items()
        if task.folds and task.name in row and len(row[task.name]) < len(task.folds)
    ]
    return "\n".join(lines)
