"""Bootstrap intervals and paired tests of significance, which resample images.

The captions of an image depend on each other, so an interval over utterances would be too narrow.
All functions take one number for each query (or utterance) and the id of its image.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import DegenerateDataWarning, bootstrap

Array = np.ndarray
_BLOCK = 4_000_000  # cells of the resamples that are made at once


class Interval(NamedTuple):
    """A 95 % percentile bootstrap interval."""

    lower: float
    upper: float


class PairedTest(NamedTuple):
    """Outcome of a paired comparison of two systems on the same queries.

    Attributes:
        difference: Mean difference, first system less second.
        interval: Bootstrap interval of the difference.
        p_value: Two-sided p-value of a sign-flip permutation test over images.
    """

    difference: float
    interval: Interval
    p_value: float


def bootstrap_mean(values: Array, ids: Sequence | Array, *, samples: int = 1000) -> Interval:
    """Like ``bootstrap_means`` for one measure, (queries,)."""
    return bootstrap_means(np.asarray(values)[:, None], ids, samples=samples)[0]


def bootstrap_means(values: Array, ids: Sequence | Array, *, samples: int = 1000) -> list[Interval]:
    """Intervals of means over queries, without NaN values, which are not applicable.

    Args:
        values: Value of each query in each measure, (queries, measures).
        ids: Image id of each query, (queries,).
        samples: Number of resamples.
    """
    sums, counts = _per_image(np.asarray(values, dtype=float), ids)
    return [_interval(each, _ratio, samples) for each in zip(sums.T, counts.T, strict=True)]


def bootstrap_median(values: Array, ids: Sequence | Array, *, samples: int = 1000) -> Interval:
    """Interval of a median over queries, e.g. of the median rank."""
    _, image, numbers = np.unique(np.asarray(ids), return_inverse=True, return_counts=True)
    order = np.argsort(image, kind="stable")
    table = np.full((len(numbers), numbers.max()), np.nan)  # (images, queries of each)
    table[np.arange(numbers.max()) < numbers[:, None]] = np.asarray(values, dtype=float)[order]

    def median(images: Array, axis: int) -> Array:
        return np.nanmedian(table[images], axis=(-2, -1))

    return _interval((np.arange(len(table)),), median, samples)


def paired_test(
    first: Array, second: Array, ids: Sequence | Array, *, samples: int = 10000
) -> PairedTest:
    """Compares two systems query by query.

    The permutation test counts how often the difference is as large if a coin decides, image by
    image, which system is which: ``p = (1 + #{|permuted| ≥ |observed|}) / (1 + samples)``.

    Args:
        first: Values of the first system, e.g. 1.0 where recall@10 is a hit, (queries,).
        second: Values of the second system on the same queries in the same order, (queries,).
        ids: Image id of each query, (queries,).
        samples: Number of permutations and of resamples.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"paired values of shapes {first.shape} and {second.shape}")
    difference = first - second
    sums, counts = _per_image(difference[:, None], ids)
    sums, total = sums[:, 0], counts.sum()
    if total == 0:
        raise ValueError("no query has a value for both systems")
    observed = abs(sums.sum())
    rng = np.random.default_rng(0)
    extreme = 0
    for size in _block_sizes(samples, len(sums)):
        signs = rng.integers(0, 2, (size, len(sums)), dtype=np.int8) * 2.0 - 1.0
        extreme += int(np.count_nonzero(np.abs(signs @ sums) >= observed - 1e-9))
    interval = bootstrap_mean(difference, ids, samples=samples)
    return PairedTest(float(sums.sum() / total), interval, (1 + extreme) / (1 + samples))


def _per_image(values: Array, ids: Sequence | Array) -> tuple[Array, Array]:
    if len(values) != len(ids):
        raise ValueError(f"numbers of values and ids differ: {len(values)}, {len(ids)}")
    _, image = np.unique(np.asarray(ids), return_inverse=True)
    applicable = ~np.isnan(values)
    num_images = int(image.max()) + 1
    columns = range(values.shape[1])
    filled = np.where(applicable, values, 0.0)
    sums = [np.bincount(image, weights=filled[:, c], minlength=num_images) for c in columns]
    counts = [np.bincount(image, weights=applicable[:, c], minlength=num_images) for c in columns]
    return np.stack(sums, axis=1), np.stack(counts, axis=1)


def _block_sizes(samples: int, width: int) -> Iterator[int]:
    step = max(1, _BLOCK // max(width, 1))
    for start in range(0, samples, step):
        yield min(step, samples - start)


def _ratio(sums: Array, counts: Array, axis: int) -> Array:
    with np.errstate(invalid="ignore"):
        return sums.sum(axis=axis) / counts.sum(axis=axis)


def _interval(data: Sequence[Array], statistic: Callable[..., Array], samples: int) -> Interval:
    """Resamples (images,) arrays of what belongs to each image; resamples with NaN do not count."""
    number = len(data[0])
    if number == 1:  # which scipy refuses
        values = np.atleast_1d(statistic(*data, axis=-1))
    else:
        with warnings.catch_warnings():
            # scipy warns of NaN resamples, from which it makes no interval of its own
            warnings.simplefilter("ignore", DegenerateDataWarning)
            values = bootstrap(
                data,
                statistic,
                paired=True,
                n_resamples=samples,
                batch=max(1, _BLOCK // number),
                method="percentile",
                random_state=np.random.default_rng(0),
            ).bootstrap_distribution
    known = values[~np.isnan(values)]
    lower, upper = np.quantile(known, (0.025, 0.975)) if len(known) else (np.nan, np.nan)
    return Interval(float(lower), float(upper))
