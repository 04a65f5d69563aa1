"""Paired comparisons of two systems over training runs and over images."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from scipy.stats import ttest_1samp

from espnet_plugin.data.inference_set import InferenceSet
from espnet_plugin.evaluation.statistics import paired_test

from .runs import LOWER_IS_BETTER, Run

_SAME_RATE = 1e-9  # differences of rates within this are equal but for rounding


@dataclass(frozen=True)
class Comparison:
    """Two systems in one measure, over the seeds that both have.

    ``difference`` is the mean over ``runs`` pairs, first system less second, and ``better`` the
    number of pairs in which the first is better. ``p_images``, of ``paired_test``, asks whether
    other images and recordings could have turned the result. ``p_runs``, of a t-test, asks it of
    other trainings on the same data. It and ``deviation`` are None for one pair.
    """

    first: str
    second: str
    measure: str
    difference: float
    deviation: float | None
    runs: int
    better: int
    p_images: float
    p_runs: float | None


def compare(
    runs: Sequence[Run], first: str, second: str, measures: Sequence[str]
) -> list[Comparison]:
    """Compares two systems in all measures that all their runs have.

    Raises:
        ValueError: If two runs are not of the same test set. Runs on several corpora are not
            exchangeable, so each corpus is compared by itself.
    """
    ours = {run.seed: run for run in runs if run.system == first}
    theirs = {run.seed: run for run in runs if run.system == second}
    pairs = [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]
    for run in (run for pair in pairs for run in pair):
        if not _same_set(pairs[0][0].data, run.data):
            raise ValueError(f"{pairs[0][0].path} and {run.path} are not about the same test set")
    known = [m for m in measures if all(m in run.numbers for pair in pairs for run in pair)]
    return [_compare(pairs, measure) for measure in known] if pairs else []


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values for their number (Holm, 1979)."""
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values)
    multiplied = np.maximum.accumulate(np.arange(len(values), 0, -1) * values[order])
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(1.0, multiplied)
    return corrected.tolist()


def paired_t_test(differences: Sequence[float]) -> float:
    """The two-sided p of a t-test that the mean of at least two differences is 0.

    n equal differences other than 0 have no variance, from which a t-test would conclude p = 0. The
    sign test's p replaces it, 2^(1 − n) for n of one sign. n times 0 gives 1.
    """
    mean, deviation = statistics.mean(differences), statistics.stdev(differences)
    if deviation < _SAME_RATE:
        return 1.0 if abs(mean) < _SAME_RATE else 2.0 ** (1 - len(differences))
    return float(ttest_1samp(differences, 0).pvalue)


def _same_set(one: InferenceSet, other: InferenceSet) -> bool:
    names = (one.utterances, one.images) == (other.utterances, other.images)
    names &= one.recordings_of(one.utterances) == other.recordings_of(other.utterances)
    return names and np.array_equal(one.image, other.image)


def _compare(pairs: Sequence[tuple[Run, Run]], measure: str) -> Comparison:
    ours, images, recordings = zip(*(one.values(measure) for one, _ in pairs), strict=True)
    theirs = [other.values(measure)[0] for _, other in pairs]
    columns = map(np.concatenate, (ours, theirs, images))
    made_of = None if recordings[0] is None else [*chain.from_iterable(recordings)]
    differences = [one.numbers[measure] - other.numbers[measure] for one, other in pairs]
    better = [d < 0 if measure in LOWER_IS_BETTER else d > 0 for d in differences]
    several = len(pairs) > 1
    return Comparison(
        first=pairs[0][0].system,
        second=pairs[0][1].system,
        measure=measure,
        difference=statistics.mean(differences),
        deviation=statistics.stdev(differences) if several else None,
        runs=len(pairs),
        better=sum(better),
        p_images=paired_test(*columns, recordings=made_of).p_value,
        p_runs=paired_t_test(differences) if several else None,
    )
