"""The page about a sweep: a table of all systems, the paper's claims one by one, ablations."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
    Recogniser,
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


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, or of ours: the first system is better than the second."""

    text: str
    first: str
    second: str
    measures: tuple[Measure, ...]


CLAIMS = (
    Claim(
        "Cascaded+ names more of what is said than cascaded, with fewer duplicates",
        "cascaded_plus",
        "cascaded",
        (*KEYWORD_MEASURES, *CASCADED_RECALLS),
    ),
    Claim(
        "Training the cascaded branch beside it helps the parallel branch (hybrid, parallel)",
        "hybrid",
        "parallel",
        PARALLEL_RECALLS,
    ),
    Claim(
        "Hybrid+ is better than hybrid",
        "hybrid_plus",
        "hybrid",
        (*PARALLEL_RECALLS, *CASCADED_RECALLS, *KEYWORD_MEASURES),
    ),
    Claim(
        "Hybrid+ is better than parallel in the parallel branch",
        "hybrid_plus",
        "parallel",
        PARALLEL_RECALLS,
    ),
    Claim(
        "Hybrid+ annealed is better than hybrid+",
        "hybrid_plus_annealed",
        "hybrid_plus",
        (*PARALLEL_RECALLS, *CASCADED_RECALLS, *KEYWORD_MEASURES),
    ),
    Claim(
        "Hybrid+ annealed is better than hybrid",
        "hybrid_plus_annealed",
        "hybrid",
        (*PARALLEL_RECALLS, *CASCADED_RECALLS, *KEYWORD_MEASURES),
    ),
)


def write_sweep(runs: Sequence[Run], output_dir: str | Path) -> str:
    """Writes SWEEP.md, sweep.json and figures; returns the text of the page.

    A system called ``<base>.<change>`` is an ablation and is compared with ``<base>``; any other
    that is none of the papers' is a new recipe and is compared as ``protocol`` declares.
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
            "Slope of the number of keywords over the utterance's length, and Pearson's "
            "correlation of the number with the length and with the caption's sub-words. "
            "The CLS extractor always gives the same number.",
            counts_table(runs, with_keywords).markdown(),
        ]
    negatives = hard_negative_measures(runs)
    if negatives:
        parts += [
            "## Hard negatives",
            "How often a caption is nearer to its own picture than to one that differs from it in "
            "one thing only, in % (chance 50).",
            means_table(runs, systems, negatives).markdown(),
        ]
    if any(look_up(run.scores, TRAINING_CPU) for run in runs):
        parts += ["## Training CPU", _CPU, cpu_table(runs, systems).markdown()]
    declared = {recipe: _declared(runs, recipe) for recipe in systems if _is_new(recipe)}
    compared = [
        (c.text, compare(runs, c.first, c.second, c.measures))
        for c in CLAIMS
        if c.first in systems and c.second in systems
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
    for title, path in _draw(runs, systems, output_dir).items():
        parts.append(f"![{title}]({path.relative_to(output_dir).as_posix()})")
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
_CPU = (
    "Process time of training, validation left out. A new recipe may take "
    f"{protocol.MOST_CPU:g} times {protocol.BASELINES[0]}'s."
)
_DECLARED = (
    "Targets and comparisons were fixed before the runs (docs/protocol.md). Holm's correction "
    f"covers all rows together; better takes both tests at {100 * protocol.ALPHA:g} %. The "
    "recogniser is one training and counts as given: its *p, seeds* is about other trainings of "
    "the recipe only."
)
_HOW = (
    "Difference of the first and the second system in points, mean ± standard deviation over the "
    "seeds, and its 95 % bootstrap interval over pictures; *seeds*: in how many the first is "
    "better. Two tests ask different questions: *p, pictures* is a sign-flip test over the test "
    "pictures (would other pictures have turned the result?), *p, seeds* a paired t-test over the "
    "trainings (would other trainings have?; where all seeds differ by the same amount, the sign "
    "test's p). Both are two-sided and, within a table, corrected for the number of its rows by "
    "Holm's method. A system is called better where both are below 0.05. Of a measure that does "
    "not apply to every utterance, interval and *p, pictures* are about those to which it applies "
    "in both systems."
)


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
    heard = [Recogniser(protocol.RECOGNISER, r.seed, r.path) for r in runs if r.system == recipe]
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
        f"`{first['test_set']}` of {first['utterances']} utterances, {first['images']} pictures."
    )


def _draw(runs: Sequence[Run], systems: Sequence[str], output_dir: Path) -> dict[str, Path]:
    try:
        from espnet_plugin.evaluation.figures import style

        from . import figures

        drawn = {"All runs": style.save(figures.draw_runs(runs, systems), output_dir / "runs")}
        counted = [s for s in systems if "_plus" in s and "." not in s]
        if any(run.data.keywords for run in runs if run.system in counted):
            figure = figures.draw_keyword_numbers(runs, counted)
            drawn["Number of keywords"] = style.save(figure, output_dir / "keyword_numbers")
    except ImportError as error:
        logging.warning(f"no figures ({error}): pip install matplotlib (extra: recipe)")
        return {}
    return drawn


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
