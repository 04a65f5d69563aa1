"""Many runs of several systems over seeds: means, deviations, and paired comparisons."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espnet_plugin.evaluation.statistics import Interval, paired_test

from .runs import Measure, Run, seed_place

_SAME_RATE = 1e-9  # differences of rates within this are equal but for rounding


@dataclass(frozen=True)
class Comparison:
    """Two systems in one measure, over the seeds that both have.

    Attributes:
        first: Name of a system.
        second: Name of the system that it is compared with.
        measure: Measure in which they are compared.
        seeds: Seeds that both systems have.
        differences: First system less second, by seed.
        interval: 95 % bootstrap interval of the mean difference, over images.
        p_images: p-value of a two-sided sign-flip test over images, with an image's differences
            summed over seeds. It asks whether other images could have turned the result.
        p_seeds: p-value of a two-sided paired t-test over the seeds, NaN for one seed. It asks
            whether other training runs could have turned the result.
    """

    first: str
    second: str
    measure: Measure
    seeds: tuple[str, ...]
    differences: tuple[float, ...]
    interval: Interval
    p_images: float
    p_seeds: float


def compare(
    runs: Sequence[Run], first: str, second: str, measures: Sequence[Measure]
) -> list[Comparison]:
    """Compares two systems in all measures that both have."""
    ours = {run.seed: run for run in runs if run.system == first}
    theirs = {run.seed: run for run in runs if run.system == second}
    seeds = sorted(set(ours) & set(theirs), key=seed_place)
    found = []
    for measure in measures:
        pairs = [(ours[seed], theirs[seed]) for seed in seeds]
        if pairs and all(run.value(measure) is not None for pair in pairs for run in pair):
            found.append(_compare(pairs, measure, tuple(seeds)))
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values for their number (Holm, 1979)."""
    values = np.asarray(p_values)
    order = np.argsort(values)
    multiplied = np.minimum(1.0, np.arange(len(values), 0, -1) * values[order])
    corrected = np.empty(len(values))
    corrected[order] = np.maximum.accumulate(multiplied)
    return corrected.tolist()


def keyword_counts(run: Run) -> Mapping[str, float]:
    """Measures how the number of keywords follows the speech.

    Returns:
        ``keywords`` and ``subwords`` are those of an utterance. ``per_second`` is the slope of a
        straight line through number against seconds. ``r_seconds`` and ``r_subwords`` are Pearson's
        correlations of the number with the length and with the caption's sub-words, NaN if the
        number is constant.
    """
    spoken = run.data.captioned_keywords
    number = np.array([len(u.keywords) for u in spoken], dtype=float)
    subwords = np.array([len(u.caption_ids) for u in spoken], dtype=float)
    seconds = np.array([u.seconds for u in spoken])
    varies = seconds.std() > 0
    return {
        "keywords": float(number.mean()),
        "subwords": float(subwords.mean()),
        "per_second": float(np.polyfit(seconds, number, 1)[0]) if varies else math.nan,
        "r_seconds": _correlation(number, seconds),
        "r_subwords": _correlation(number, subwords),
    }


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if first.std() == 0 or second.std() == 0:
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])


def _compare(
    pairs: Sequence[tuple[Run, Run]], measure: Measure, seeds: tuple[str, ...]
) -> Comparison:
    ours, theirs, units = [], [], []
    for one, other in pairs:
        if (one.data.utterances, one.data.images) != (other.data.utterances, other.data.images):
            raise ValueError(f"{one.path} and {other.path} are not about the same test set")
        values, unit = one.values(measure)
        ours.append(values)
        theirs.append(other.values(measure)[0])
        units.append(unit)
    test = paired_test(np.concatenate(ours), np.concatenate(theirs), np.concatenate(units))
    differences = tuple(one.value(measure) - other.value(measure) for one, other in pairs)
    return Comparison(
        first=pairs[0][0].system,
        second=pairs[0][1].system,
        measure=measure,
        seeds=seeds,
        differences=differences,
        interval=test.interval,
        p_images=test.p_value,
        p_seeds=paired_t_test(differences),
    )


def paired_t_test(differences: Sequence[float]) -> float:
    """The two-sided p of a t-test that the differences' mean is 0; NaN for a single difference.

    n equal differences other than 0 have no variance, from which a t-test would conclude p = 0. The
    sign test's p replaces it, 2^(1 − n) for n of one sign. n times 0 gives 1.
    """
    if len(differences) < 2:
        return math.nan
    mean, deviation = statistics.mean(differences), statistics.stdev(differences)
    if deviation < _SAME_RATE:
        return 1.0 if abs(mean) < _SAME_RATE else 2.0 ** (1 - len(differences))
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(differences, 0).pvalue)
