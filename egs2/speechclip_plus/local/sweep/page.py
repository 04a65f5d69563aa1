"""The page about a sweep: tables of all systems, and comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import jinja2

from espnet_plugin.evaluation.report.tables import look_up
from espnet_plugin.evaluation.scores.files import write_json
from espnet_plugin.utils.atomic import write_text

from . import protocol
from .comparisons import Comparison, compare
from .runs import (
    BOUNDARY_F,
    CASCADED_RECALLS,
    FUSED_RECALLS,
    KEYWORD_MEASURES,
    PARALLEL_RECALLS,
    TEACHER_RECALL,
    TRAINING_CPU,
    Run,
    seed_place,
)
from .tables import (
    comparison_table,
    counts_table,
    cpu_table,
    hard_negative_measures,
    means_table,
    target_table,
)

SWEEP_FILE = "SWEEP.md"
_TEMPLATE = jinja2.Template(
    Path(__file__).with_name("sweep.md.jinja").read_text(encoding="utf-8"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
PAPERS = ("parallel", "cascaded", "cascaded+", "hybrid", "hybrid+")
_SYSTEMS = (*PAPERS, "hybrid+ annealed")  # as the papers introduce them; ours last
PAIRS = (  # about which the papers or we claim something
    ("cascaded_plus", "cascaded"),
    ("hybrid", "parallel"),
    ("hybrid_plus", "hybrid"),
    ("hybrid_plus", "parallel"),
    ("hybrid_plus_annealed", "hybrid_plus"),
    ("hybrid_plus_annealed", "hybrid"),
)
_BRANCHES = (*PARALLEL_RECALLS, *CASCADED_RECALLS, *KEYWORD_MEASURES)  # of pairs
_ALL_MEASURES = (  # of ablations
    *PARALLEL_RECALLS,
    *CASCADED_RECALLS,
    *FUSED_RECALLS,
    *KEYWORD_MEASURES,
    BOUNDARY_F,
)


def write_sweep(runs: Sequence[Run], output_dir: str | Path) -> str:
    """Writes SWEEP.md and sweep.json; returns the text of the page.

    A system called ``<base>.<change>`` is an ablation, compared with ``<base>``. A system that is
    not in the papers is a new recipe, compared as ``protocol`` declares.
    """
    output_dir = Path(output_dir)
    systems = sorted(
        {run.system for run in runs}, key=lambda name: ("." in name, system_place(name))
    )
    declared = {recipe: _declared(runs, recipe) for recipe in systems if _is_new(recipe)}
    compared = {
        f"{first} against {second}": compare(runs, first, second, measures)
        for first, second, measures in [
            *((*pair, _BRANCHES) for pair in PAIRS),
            *((name, name.partition(".")[0], _ALL_MEASURES) for name in systems if "." in name),
        ]
    }
    recalls = (*PARALLEL_RECALLS, *CASCADED_RECALLS, *FUSED_RECALLS, TEACHER_RECALL)
    with_keywords = [s for s in systems if any(r.data.keywords for r in runs if r.system == s)]
    negatives = hard_negative_measures(runs)
    text = _TEMPLATE.render(
        runs=runs,
        systems=systems,
        seeds=sorted({run.seed for run in runs}, key=seed_place),
        scores=runs[0].scores,
        baseline=protocol.BASELINES[0],
        most_cpu=protocol.MOST_CPU,
        alpha=protocol.ALPHA,
        retrieval=means_table(runs, systems, recalls),
        keywords=means_table(runs, with_keywords, (*KEYWORD_MEASURES, BOUNDARY_F)),
        counts=counts_table(runs, with_keywords),
        negatives=means_table(runs, systems, negatives) if negatives else None,
        cpu=cpu_table(runs, systems)
        if any(look_up(run.scores, TRAINING_CPU) for run in runs)
        else None,
        declared=[
            (recipe, targets, comparison_table(found) if found else None)
            for recipe, found in declared.items()
            for targets in [
                target_table(runs, recipe) if protocol.has_targets(runs, recipe) else None
            ]
            if targets or found
        ],
        compared=[(title, comparison_table(found)) for title, found in compared.items() if found],
    )
    write_text(output_dir / SWEEP_FILE, text)
    write_json(output_dir / "sweep.json", _as_json(runs, systems, declared | compared))
    return text


def system_place(name: str) -> tuple[int, str]:
    """Key to sort by.

    Args:
        name: Of a system: an architecture's configuration (``hybrid_plus``) or an ablation of that
            (``hybrid_plus.<change>``); unknown ones come last.
    """
    base = name.partition(".")[0].replace("_plus", "+").replace("_", " ")
    known = base in _SYSTEMS
    return _SYSTEMS.index(base) if known else len(_SYSTEMS), name


def _is_new(system: str) -> bool:
    return "." not in system and system_place(system)[0] >= len(PAPERS)


def _declared(runs: Sequence[Run], recipe: str) -> list[Comparison]:
    return [
        comparison
        for base in protocol.BASELINES
        for comparison in compare(runs, recipe, base, protocol.MEASURES)
    ]


def _as_json(
    runs: Sequence[Run], systems: Sequence[str], compared: Mapping[str, Sequence[Comparison]]
) -> dict:
    return {
        "systems": {
            system: {
                run.seed: {
                    **{".".join(m.path): run.value(m) for m in (*_ALL_MEASURES, TEACHER_RECALL)},
                    "training_cpu_seconds": look_up(run.scores, TRAINING_CPU),
                }
                for run in runs
                if run.system == system
            }
            for system in systems
        },
        "comparisons": [
            {"title": title, **asdict(c), "measure": ".".join(c.measure.path)}
            for title, found in compared.items()
            for c in found
        ],
    }
