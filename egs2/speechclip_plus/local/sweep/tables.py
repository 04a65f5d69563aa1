"""Tables of a sweep's page."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from espnet_plugin.evaluation.report.tables import Table, look_up, mean_and_deviation

from . import protocol
from .comparisons import Comparison, holm, keyword_counts
from .runs import TRAINING_CPU, Measure, Run


def means_table(runs: Sequence[Run], systems: Sequence[str], measures: Sequence[Measure]) -> Table:
    """Mean ± standard deviation of every measure that any run has, in %."""
    shown = [run for run in runs if run.system in systems]
    measures = [m for m in measures if any(run.value(m) is not None for run in shown)]
    rows = []
    for system in systems:
        group = [run for run in shown if run.system == system]
        means = [mean_and_deviation(run.value(measure) for run in group) for measure in measures]
        rows.append((system, str(len(group)), *means))
    return Table(("system", "runs", *(measure.name for measure in measures)), tuple(rows))


def counts_table(runs: Sequence[Run], systems: Sequence[str]) -> Table:
    """Correlations of the number of keywords with the speech."""
    rows = []
    for system in systems:
        counts = [keyword_counts(run) for run in runs if run.system == system and run.data.keywords]
        cells = [
            mean_and_deviation((count[name] for count in counts), scale=1, digits=2)
            for name in ("keywords", "subwords", "per_second", "r_seconds", "r_subwords")
        ]
        rows.append((system, *cells))
    header = ("system", "keywords", "sub-words", "keywords per s", "r, length", "r, sub-words")
    return Table(header, tuple(rows))


def hard_negative_measures(runs: Sequence[Run]) -> tuple[Measure, ...]:
    """The shares of hard negatives told apart that the runs have, by system and kind."""
    names = {
        (system, kind)
        for run in runs
        for system, found in run.scores.get("hard_negatives", {}).items()
        for kind in found
    }
    return tuple(
        Measure(f"{system}, {kind}", ("hard_negatives", system, kind, "accuracy"))
        for system, kind in sorted(names)
    )


def cpu_table(runs: Sequence[Run], systems: Sequence[str]) -> Table:
    """Process time of training, also as a multiple of the first baseline's."""
    spent = {}
    for system in systems:
        values = [look_up(run.scores, TRAINING_CPU) for run in runs if run.system == system]
        spent[system] = [value for value in values if value is not None]
    base = spent.get(protocol.BASELINES[0])
    rows = []
    for system, seconds in spent.items():
        ratio = (
            f"{statistics.mean(seconds) / statistics.mean(base):.2f}" if base and seconds else "–"
        )
        rows.append((system, mean_and_deviation(seconds, scale=1, digits=0), ratio))
    return Table(("system", "training CPU, s", f"times {protocol.BASELINES[0]}'s"), tuple(rows))


def target_table(runs: Sequence[Run], recipe: str) -> Table:
    """Which of the protocol's targets a recipe's mean reaches."""
    rows = []
    ours = [run for run in runs if run.system == recipe]
    for target in protocol.TARGETS:
        sign = 1 if target.measures[0].higher_is_better else -1
        found = []
        for measure in target.measures:
            values = [v for run in ours if (v := run.value(measure)) is not None]
            if values:
                found.append((sign * statistics.mean(values), values))
        best, values = max(found, default=(-math.inf, []))
        name = " or ".join(measure.name for measure in target.measures)
        bound = f"{'≥' if sign > 0 else '≤'} {100 * target.bound:g}"
        reached = "yes" if best >= sign * target.bound else "no"
        rows.append((name, bound, mean_and_deviation(values), reached if values else "–"))
    return Table(("measure", "target", recipe, "reached"), tuple(rows), text_columns=(0, 3))


def comparison_table(found: Sequence[Comparison]) -> Table:
    """Differences with intervals and both tests, corrected together."""
    several = len({comparison.second for comparison in found}) > 1
    all_images = holm([c.p_images for c in found])
    all_seeds = holm([1.0 if math.isnan(c.p_seeds) else c.p_seeds for c in found])
    rows = []
    for comparison, p_images, p_seeds in zip(found, all_images, all_seeds, strict=True):
        sign = 1 if comparison.measure.higher_is_better else -1
        better = sum(sign * difference > 0 for difference in comparison.differences)
        interval = comparison.interval
        against = f", against {comparison.second}" if several else ""
        rows.append(
            (
                comparison.measure.name + ("" if sign > 0 else " (lower is better)") + against,
                mean_and_deviation(comparison.differences, sign="+"),
                f"{100 * interval.lower:+.1f} to {100 * interval.upper:+.1f}",
                f"{better}/{len(comparison.seeds)}",
                _p(p_images),
                "–" if math.isnan(comparison.p_seeds) else _p(p_seeds),
            )
        )
    header = ("measure", "difference", "95 %, images", "seeds", "p, images", "p, seeds")
    return Table(header, tuple(rows))


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
