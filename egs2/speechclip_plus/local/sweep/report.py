"""The report of a sweep, from the content of sweep.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import jinja2

from . import protocol
from .runs import (
    BOUNDARIES,
    CASCADED_RECALLS,
    FUSED_RECALLS,
    KEYWORD_MEASURES,
    PARALLEL_RECALLS,
    TEACHER_RECALL,
    seed_place,
)
from .summary import is_new
from .tables import (
    comparison_table,
    counts_table,
    cpu_table,
    hard_negative_table,
    means_table,
    target_table,
)

_TEMPLATE = jinja2.Template(
    Path(__file__).with_name("sweep.md.jinja").read_text(encoding="utf-8"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)


def sweep_report(sweep: Mapping) -> str:
    """Writes tables of all systems, and comparisons, as Markdown.

    Args:
        sweep: Dictionary that ``summarize`` returned, or content of sweep.json.
    """
    systems = sweep["systems"]
    found: dict[str, list] = {}
    for comparison in sweep["comparisons"]:
        found.setdefault(comparison["title"], []).append(comparison)
    tables = {title: comparison_table(rows) for title, rows in found.items()}
    targets = {
        recipe: target_table(runs, recipe, declared)
        for recipe, runs in systems.items()
        if is_new(recipe) and (declared := protocol.declared_targets(sweep["set"]["name"], runs))
    }
    new = [recipe for recipe in systems if recipe in targets or recipe in tables]
    recalls = (*PARALLEL_RECALLS, *CASCADED_RECALLS, *FUSED_RECALLS, TEACHER_RECALL)
    heard = {name: runs for name, runs in systems.items() if name in sweep["counts"]}
    return _TEMPLATE.render(
        set=sweep["set"],
        systems=systems,
        seeds=sorted({seed for runs in systems.values() for seed in runs}, key=seed_place),
        baseline=protocol.BASELINES[0],
        most_cpu=protocol.MOST_CPU,
        alpha=protocol.ALPHA,
        retrieval=means_table(systems, recalls),
        keywords=means_table(heard, (*KEYWORD_MEASURES, *BOUNDARIES)),
        counts=counts_table(sweep["counts"]),
        negatives=hard_negative_table(sweep["hard_negatives"]),
        cpu=cpu_table(systems),
        declared=[(recipe, targets.get(recipe), tables.pop(recipe, None)) for recipe in new],
        compared=tables,
    )
