"""What a sweep found, as the dictionary that becomes sweep.json."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from espnet_plugin.evaluation.scores.files import look_up, write_json

from . import protocol
from .comparisons import Comparison, compare, keyword_counts
from .runs import (
    BOUNDARIES,
    BOUNDARY_F,
    CASCADED_RECALLS,
    FUSED_RECALLS,
    KEYWORD_MEASURES,
    PARALLEL_RECALLS,
    TEACHER_RECALL,
    TRAINING_CPU,
    Run,
)

SWEEP_FILE = "sweep.json"
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
MEASURES = {
    ".".join(measure.path): measure for measure in (*_ALL_MEASURES, BOUNDARIES[1], TEACHER_RECALL)
}


def write_sweep(runs: Sequence[Run], output_dir: str | Path) -> dict:
    """Writes sweep.json; returns its content, see ``summarize``."""
    found = summarize(runs)
    write_json(Path(output_dir) / SWEEP_FILE, found)
    return found


def summarize(runs: Sequence[Run]) -> dict:
    """Collects all measures of all runs, and their comparisons.

    A system called ``<base>.<change>`` is an ablation, compared with ``<base>``. A system that is
    not in the papers is a new recipe, compared as ``protocol`` declares.

    Returns:
        ``set``: its ``name``, ``utterances`` and ``images``.
        ``systems.<system>.<seed>.<measure>``: values, and ``training_cpu_seconds``. Where speech is
        in other languages than English, ``<measure>`` also has those of each language.
        ``counts.<system>.<name>`` of ``keyword_counts`` and ``hard_negatives.<system>.<branch>,
        <kind>``: mean and standard deviation over the seeds.
        ``comparisons``: fields of ``Comparison`` and a ``title``.
    """
    names = sorted({run.system for run in runs}, key=lambda name: ("." in name, system_place(name)))
    groups = {name: [run for run in runs if run.system == name] for name in names}
    scores = runs[0].scores
    return {
        "set": {"name": scores["test_set"], **{n: scores[n] for n in ("utterances", "images")}},
        "systems": {
            name: {run.seed: _values(run) for run in group} for name, group in groups.items()
        },
        "counts": {
            name: _over_seeds(keyword_counts(run) for run in group)
            for name, group in groups.items()
            if all(run.data.captioned_keywords for run in group)
        },
        "hard_negatives": {
            name: _over_seeds(_told_apart(run) for run in group)
            for name, group in groups.items()
            if all("hard_negatives" in run.scores for run in group)
        },
        "comparisons": [
            {"title": title, **asdict(found), "measure": ".".join(found.measure.path)}
            for title, comparisons in _compare_all(runs, names).items()
            for found in comparisons
        ],
    }


def system_place(name: str) -> tuple[int, str]:
    """Key to sort by.

    Args:
        name: Name of a system: an architecture's configuration (``hybrid_plus``) or an ablation of
            that (``hybrid_plus.<change>``). Unknown ones come last.
    """
    base = name.partition(".")[0].replace("_plus", "+").replace("_", " ")
    known = base in _SYSTEMS
    return _SYSTEMS.index(base) if known else len(_SYSTEMS), name


def is_new(system: str) -> bool:
    """Whether a system is a recipe that the papers lack; ablations are not."""
    return "." not in system and system_place(system)[0] >= len(PAPERS)


def _values(run: Run) -> dict[str, float | None]:
    values = {name: run.value(measure) for name, measure in MEASURES.items()}
    return {**values, **_foreign_values(run), TRAINING_CPU: look_up(run.scores, (TRAINING_CPU,))}


def _foreign_values(run: Run) -> dict[str, float | None]:
    """What scores.json has for the languages of a set, by the names of the keys with dots."""
    if look_up(run.scores, ("keywords", "languages")) is None:
        return {}
    branches = ("parallel", "cascaded", "fusion")
    paths = [("languages",), ("keywords", "languages"), ("keywords", "detection")]
    paths += [(branch, "speech_to_other_languages") for branch in branches]
    return dict(_flat({".".join(path): look_up(run.scores, path) or {} for path in paths}))


def _flat(nested: Mapping) -> Iterator[tuple[str, float | None]]:
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{name}", leaf) for name, leaf in _flat(value))
        else:
            yield key, value


def _told_apart(run: Run) -> dict[str, float]:
    return {
        f"{branch}, {kind}": score["accuracy"]
        for branch, found in sorted(run.scores["hard_negatives"].items())
        for kind, score in sorted(found.items())
    }


def _over_seeds(runs: Iterable[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """The mean and standard deviation of the known numbers; a single number has no deviation."""
    columns: dict[str, list[float]] = {}
    for run in runs:
        for name, value in run.items():
            columns.setdefault(name, []).extend([] if math.isnan(value) else [value])
    return {
        name: (
            statistics.mean(column) if column else math.nan,
            statistics.stdev(column) if len(column) > 1 else math.nan,
        )
        for name, column in columns.items()
    }


def _compare_all(runs: Sequence[Run], systems: Sequence[str]) -> dict[str, list[Comparison]]:
    declared = {
        recipe: [
            comparison
            for base in protocol.BASELINES
            for comparison in compare(runs, recipe, base, protocol.MEASURES)
        ]
        for recipe in systems
        if is_new(recipe)
    }
    pairs = [(*pair, _BRANCHES) for pair in PAIRS]
    pairs += [(name, name.partition(".")[0], _ALL_MEASURES) for name in systems if "." in name]
    return declared | {
        f"{first} against {second}": compare(runs, first, second, measures)
        for first, second, measures in pairs
    }
