"""Tables of a sweep's page, from the content of sweep.json."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from espnet_plugin.evaluation.report.tables import Table, mean_and_deviation

from . import protocol
from .comparisons import holm
from .runs import TRAINING_CPU, Measure
from .summary import MEASURES

Trainings = Mapping[str, Mapping[str, float | None]]  # by seed, then by measure
Means = Mapping[str, Mapping[str, Sequence[float | None]]]  # by system and name: mean, deviation
_COUNTS = {
    "keywords": "keywords",
    "subwords": "sub-words",
    "per_second": "keywords per s",
    "r_seconds": "r, length",
    "r_subwords": "r, sub-words",
}


def means_table(systems: Mapping[str, Trainings], measures: Sequence[Measure]) -> Table:
    """Mean ± standard deviation of every measure that any run has, in %."""
    measures = [m for m in measures if any(_known(runs, m) for runs in systems.values())]
    rows = [
        (system, str(len(runs)), *(mean_and_deviation(_known(runs, m)) for m in measures))
        for system, runs in systems.items()
    ]
    return Table(("system", "runs", *(measure.name for measure in measures)), tuple(rows))


def counts_table(counts: Means) -> Table:
    """Correlations of the number of keywords with the speech."""
    rows = [
        (system, *(_mean(*found[name], digits=2) for name in _COUNTS))
        for system, found in counts.items()
    ]
    return Table(("system", *_COUNTS.values()), tuple(rows))


def hard_negative_table(told_apart: Means) -> Table:
    """The shares of hard negatives that each system tells apart, in %."""
    names = sorted({name for found in told_apart.values() for name in found})
    rows = [
        (system, *(_mean(*found.get(name, (None, None)), scale=100) for name in names))
        for system, found in told_apart.items()
    ]
    return Table(("system", *names), tuple(rows))


def cpu_table(systems: Mapping[str, Trainings]) -> Table | None:
    """A table of training's process time, also as a multiple of the first baseline's, if known."""
    spent = {
        system: [v for run in runs.values() if (v := run.get(TRAINING_CPU)) is not None]
        for system, runs in systems.items()
    }
    if not any(spent.values()):
        return None
    base = spent.get(protocol.BASELINES[0])
    rows = []
    for system, seconds in spent.items():
        ratio = (
            f"{statistics.mean(seconds) / statistics.mean(base):.2f}" if base and seconds else "–"
        )
        rows.append((system, mean_and_deviation(seconds, scale=1, digits=0), ratio))
    return Table(("system", "training CPU, s", f"times {protocol.BASELINES[0]}'s"), tuple(rows))


def target_table(runs: Trainings, recipe: str, targets: Sequence[protocol.Target]) -> Table:
    """A table of the targets that a recipe's mean reaches."""
    rows = []
    for target in targets:
        sign = 1 if target.measures[0].higher_is_better else -1
        found = [values for measure in target.measures if (values := _known(runs, measure))]
        best = max(found, key=lambda values: sign * statistics.mean(values), default=[])
        name = " or ".join(measure.name for measure in target.measures)
        bound = f"{'≥' if sign > 0 else '≤'} {100 * target.bound:g}"
        reached = "–"
        if best:
            reached = "yes" if sign * statistics.mean(best) >= sign * target.bound else "no"
        rows.append((name, bound, mean_and_deviation(best), reached))
    return Table(("measure", "target", recipe, "reached"), tuple(rows), text_columns=(0, 3))


def comparison_table(found: Sequence[Mapping]) -> Table:
    """Differences with intervals and both tests, corrected together.

    Args:
        found: Fields of each ``Comparison``, with the measure's name in sweep.json.
    """
    several = len({comparison["second"] for comparison in found}) > 1
    tested = [{**c, "p_seeds": None if _unknown(c["p_seeds"]) else c["p_seeds"]} for c in found]
    all_images = holm([c["p_images"] for c in tested])
    all_seeds = holm([1.0 if c["p_seeds"] is None else c["p_seeds"] for c in tested])
    rows = []
    for comparison, p_images, p_seeds in zip(tested, all_images, all_seeds, strict=True):
        measure = MEASURES[comparison["measure"]]
        sign = 1 if measure.higher_is_better else -1
        better = sum(sign * difference > 0 for difference in comparison["differences"])
        lower, upper = comparison["interval"]
        against = f", against {comparison['second']}" if several else ""
        rows.append(
            (
                measure.name + ("" if sign > 0 else " (lower is better)") + against,
                mean_and_deviation(comparison["differences"], sign="+"),
                f"{100 * lower:+.1f} to {100 * upper:+.1f}",
                f"{better}/{len(comparison['seeds'])}",
                _p(p_images),
                "–" if comparison["p_seeds"] is None else _p(p_seeds),
            )
        )
    header = ("measure", "difference", "95 %, images", "seeds", "p, images", "p, seeds")
    return Table(header, tuple(rows))


def _known(runs: Trainings, measure: Measure) -> list[float]:
    name = ".".join(measure.path)
    return [value for run in runs.values() if (value := run.get(name)) is not None]


def _unknown(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _mean(mean: float | None, deviation: float | None, *, scale: float = 1, digits: int = 1) -> str:
    if _unknown(mean):
        return "–"
    text = f"{scale * mean:.{digits}f}"
    return text if _unknown(deviation) else f"{text} ± {scale * deviation:.{digits}f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
