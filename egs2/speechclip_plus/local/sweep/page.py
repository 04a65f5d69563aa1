"""The page about a sweep: a table of all systems, the paper's claims one by one, ablations."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

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
    Measure,
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
    verdict,
)

SWEEP_FILE = "SWEEP.md"
PAPERS = ("parallel", "cascaded", "cascaded+", "hybrid", "hybrid+")
_SYSTEMS = (*PAPERS, "hybrid+ annealed")  # as the papers introduce them; ours last


_EVERYTHING = (*PARALLEL_RECALLS, *CASCADED_RECALLS, *KEYWORD_MEASURES)
# claims of the papers and ours: text, the better system, the other one, what is compared
CLAIMS: tuple[tuple[str, str, str, tuple[Measure, ...]], ...] = (
    (
        "Cascaded+ names more of what is said than cascaded, with fewer duplicates",
        "cascaded_plus",
        "cascaded",
        (*KEYWORD_MEASURES, *CASCADED_RECALLS),
    ),
    (
        "Training the cascaded branch beside it helps the parallel branch (hybrid, parallel)",
        "hybrid",
        "parallel",
        PARALLEL_RECALLS,
    ),
    ("Hybrid+ is better than hybrid", "hybrid_plus", "hybrid", _EVERYTHING),
    (
        "Hybrid+ is better than parallel in the parallel branch",
        "hybrid_plus",
        "parallel",
        PARALLEL_RECALLS,
    ),
    (
        "Hybrid+ annealed is better than hybrid+",
        "hybrid_plus_annealed",
        "hybrid_plus",
        _EVERYTHING,
    ),
    ("Hybrid+ annealed is better than hybrid", "hybrid_plus_annealed", "hybrid", _EVERYTHING),
)


def write_sweep(runs: Sequence[Run], output_dir: str | Path) -> str:
    """Writes SWEEP.md, sweep.json and a figure; returns the text of the page.

    A system called ``<base>.<change>`` is an ablation, compared with ``<base>``. A system that is
    not in the papers is a new recipe, compared as ``protocol`` declares.
    """
    output_dir = Path(output_dir)
    systems = _systems(runs)
    parts = ["# Sweep", _overview(runs, systems)]
    parts += ["## Retrieval", "Mean ± standard deviation over the seeds, in %."]
    recalls = (*PARALLEL_RECALLS, *CASCADED_RECALLS, *FUSED_RECALLS, TEACHER_RECALL)
    parts.append(means_table(runs, systems, recalls).markdown())
    with_keywords = [s for s in systems if any(r.data.keywords for r in runs if r.system == s)]
    if with_keywords:
        keyword_measures = (*KEYWORD_MEASURES, BOUNDARY_F)
        parts += ["## Keywords", means_table(runs, with_keywords, keyword_measures).markdown()]
        parts += [
            "## Number of keywords",
            "Slope of the number of keywords over the utterance's length, and its correlation "
            "(Pearson)\nwith the length and with the caption's sub-words. The CLS extractor's "
            "number is constant.",
            counts_table(runs, with_keywords).markdown(),
        ]
    negatives = hard_negative_measures(runs)
    if negatives:
        parts += [
            "## Hard negatives",
            "How often a caption is nearer to its own image than to one that differs in one thing "
            "only, in % (chance 50).",
            means_table(runs, systems, negatives).markdown(),
        ]
    if any(look_up(run.scores, TRAINING_CPU) for run in runs):
        parts += ["## Training CPU", _CPU, cpu_table(runs, systems).markdown()]
    declared = {recipe: _declared(runs, recipe) for recipe in systems if _is_new(recipe)}
    compared = [
        (text, compare(runs, first, second, measures))
        for text, first, second, measures in CLAIMS
        if first in systems and second in systems
    ]
    ablations = [
        (f"{system} against {base}", compare(runs, system, base, _ALL_MEASURES))
        for system in systems
        for base, _, change in [system.partition(".")]
        if change and base in systems
    ]
    if declared or compared or ablations:
        parts += ["## Comparisons", _HOW]
    for recipe, found in declared.items():
        parts += _declaration(runs, recipe, found)
    for title, found in (*compared, *ablations):
        if found:
            parts += [f"### {title}", verdict(found), comparison_table(found).markdown()]
    if _draw(runs, systems, output_dir):
        parts.append("![All runs](runs.png)")
    text = "\n\n".join(parts) + "\n"
    write_text(output_dir / SWEEP_FILE, text)
    write_json(
        output_dir / "sweep.json",
        _as_json(runs, systems, [*declared.items(), *compared, *ablations]),
    )
    return text


_ALL_MEASURES = (
    *PARALLEL_RECALLS,
    *CASCADED_RECALLS,
    *FUSED_RECALLS,
    *KEYWORD_MEASURES,
    BOUNDARY_F,
)
_CPU = f"""Process time of training, without validation. A new recipe may take {protocol.MOST_CPU:g}
times {protocol.BASELINES[0]}'s."""
_DECLARED = f"""Targets and comparisons were fixed before the runs (docs/protocol.md). Holm's
correction covers all rows together. A system is better if both tests are below
{100 * protocol.ALPHA:g} %. The recogniser is one training, so its *p, seeds* concerns only other
trainings of the recipe."""
_HOW = """Differences of the first and the second system are in points: mean ± standard deviation
over the seeds, and a 95 % bootstrap interval over images. *seeds*: in how many the first is better.

- *p, images*: a sign-flip test over the test images. Would other images turn the result?
- *p, seeds*: a paired t-test over the trainings. Would other trainings turn it? If all seeds differ
  by the same amount, it is the sign test's p.

Both are two-sided and, within a table, corrected by Holm's method for the number of rows. A system
is better if both are below 0.05. If a measure does not apply to every utterance, the interval and
*p, images* use the utterances to which it applies in both systems."""


def _systems(runs: Sequence[Run]) -> list[str]:
    names = {run.system for run in runs}
    return sorted(names, key=lambda name: ("." in name, system_place(name)))


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
    heard = [
        Run(protocol.RECOGNISER, run.seed, run.path, branch="asr")
        for run in runs
        if run.system == recipe
    ]
    compared = [(base, protocol.MEASURES) for base in protocol.BASELINES]
    compared.append((protocol.RECOGNISER, protocol.RECOGNISER_MEASURES))
    return [
        comparison
        for base, measures in compared
        for comparison in compare([*runs, *heard], recipe, base, measures)
    ]


def _declaration(runs: Sequence[Run], recipe: str, found: list[Comparison]) -> list[str]:
    parts = []
    if protocol.has_targets(runs, recipe):
        parts.append(target_table(runs, recipe).markdown())
    if found:
        parts += [verdict(found, alpha=protocol.ALPHA), comparison_table(found).markdown()]
    return [f"### {recipe}, as declared", _DECLARED, *parts] if parts else []


def _overview(runs: Sequence[Run], systems: Sequence[str]) -> str:
    first = runs[0].scores
    seeds = sorted({run.seed for run in runs}, key=seed_place)
    return (
        f"{len(runs)} runs: {len(systems)} systems, seeds {', '.join(seeds)}; set "
        f"`{first['test_set']}` of {first['utterances']} utterances, {first['images']} images."
    )


def _draw(runs: Sequence[Run], systems: Sequence[str], output_dir: Path) -> bool:
    try:
        from espnet_plugin.evaluation.figures import style

        from .figures import draw_runs
    except ImportError as error:
        logging.warning(f"no figure ({error}): pip install matplotlib (extra: recipe)")
        return False
    style.save(draw_runs(runs, systems), output_dir / "runs")
    return True


def _as_json(
    runs: Sequence[Run], systems: Sequence[str], compared: Sequence[tuple[str, list[Comparison]]]
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
            for title, found in compared
            for c in found
        ],
    }
