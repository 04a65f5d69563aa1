"""Intervals and paired tests for queries that are not independent.

The captions of an image depend on each other, so an interval over utterances would be too narrow.
Whole images are resampled. Where utterances are put together from recordings, two utterances that
share a recording depend on each other too, whatever their images are. Images and recordings are
then two crossed factors, and the variance adds up all pairs of queries that share one (Cameron,
Gelbach and Miller 2011; Aronow, Samii and Assenova 2015). A bootstrap that resamples both factors
would be two to four times too wide: it counts the noise of each utterance once for each factor.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.stats import DegenerateDataWarning, bootstrap, t

Array = np.ndarray
RecordingNames = Sequence[Collection[str]]  # of each query
_BLOCK = 4_000_000  # cells of the resamples that are made at once


class Interval(NamedTuple):
    """A 95 % interval."""

    lower: float
    upper: float


class PairedTest(NamedTuple):
    """Outcome of a paired comparison of two systems on the same queries.

    Attributes:
        difference: Mean difference, first system less second.
        interval: Interval of the difference.
        p_value: Two-sided p-value.
    """

    difference: float
    interval: Interval
    p_value: float


def mean_interval(
    values: Array,
    ids: Sequence | Array,
    *,
    recordings: RecordingNames | None = None,
    samples: int = 1000,
) -> Interval:
    """Like ``mean_intervals`` for one measure, (queries,)."""
    table = np.asarray(values)[:, None]
    return mean_intervals(table, ids, recordings=recordings, samples=samples)[0]


def mean_intervals(
    values: Array,
    ids: Sequence | Array,
    *,
    recordings: RecordingNames | None = None,
    samples: int = 1000,
) -> list[Interval]:
    """Intervals of means over queries, without NaN values, which are not applicable.

    They are percentile bootstrap intervals over images or, with recordings, t-intervals.

    Args:
        values: Value of each query in each measure, (queries, measures).
        ids: Image id of each query, (queries,).
        recordings: Recordings that each query is made of, (queries,), or None if each query has its
            own.
        samples: Number of resamples of images.
    """
    values = np.asarray(values, dtype=float)
    if recordings is None:
        sums, counts = _per_image(values, ids)
        return [_interval(each, _ratio, samples) for each in zip(sums.T, counts.T, strict=True)]
    shared = _Shared(ids, recordings)
    found = []
    for column in values.T:
        mean, half = np.nanmean(column), shared.quantile * shared.standard_error(column)
        found.append(Interval(float(mean - half), float(mean + half)))
    return found


def median_interval(
    values: Array,
    ids: Sequence | Array,
    *,
    recordings: RecordingNames | None = None,
    samples: int = 1000,
) -> Interval:
    """Interval of a median over queries, e.g. of the median rank.

    With recordings it is Woodruff's (1952): the quantiles at the ends of the interval of the share
    of queries up to the median.
    """
    values = np.asarray(values, dtype=float)
    if recordings is not None:
        shared = _Shared(ids, recordings)
        below = (values <= np.median(values)).astype(float)
        half = shared.quantile * shared.standard_error(below)
        lower, upper = np.quantile(values, (max(0.0, 0.5 - half), min(1.0, 0.5 + half)))
        return Interval(float(lower), float(upper))
    _, image, numbers = np.unique(np.asarray(ids), return_inverse=True, return_counts=True)
    order = np.argsort(image, kind="stable")
    table = np.full((len(numbers), numbers.max()), np.nan)  # (images, queries of each)
    table[np.arange(numbers.max()) < numbers[:, None]] = values[order]

    def median(images: Array, axis: int) -> Array:
        return np.nanmedian(table[images], axis=(-2, -1))

    return _interval((np.arange(len(table)),), median, samples)


def paired_test(
    first: Array,
    second: Array,
    ids: Sequence | Array,
    *,
    recordings: RecordingNames | None = None,
    samples: int = 10000,
) -> PairedTest:
    """Compares two systems query by query.

    Without recordings, a permutation test counts how often the difference is as large if a coin
    decides, image by image, which system is which:
    ``p = (1 + #{|permuted| ≥ |observed|}) / (1 + samples)``. With recordings, no coin could be
    tossed for an image alone, because recordings link it to others; a t-test takes its place.

    Args:
        first: Values of the first system, e.g. 1.0 where recall@10 is a hit, (queries,).
        second: Values of the second system on the same queries in the same order, (queries,).
        ids: Image id of each query, (queries,).
        recordings: Recordings that each query is made of, (queries,), or None if each query has its
            own.
        samples: Number of permutations and of resamples.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"paired values of shapes {first.shape} and {second.shape}")
    difference = first - second
    if np.isnan(difference).all():
        raise ValueError("no query has a value for both systems")
    mean = float(np.nanmean(difference))
    interval = mean_interval(difference, ids, recordings=recordings, samples=samples)
    if recordings is not None:
        return PairedTest(mean, interval, _Shared(ids, recordings).p_value(difference))
    sums = _per_image(difference[:, None], ids)[0][:, 0]
    observed = abs(sums.sum())
    rng = np.random.default_rng(0)
    extreme = 0
    for size in _block_sizes(samples, len(sums)):
        signs = rng.integers(0, 2, (size, len(sums)), dtype=np.int8) * 2.0 - 1.0
        extreme += int(np.count_nonzero(np.abs(signs @ sums) >= observed - 1e-9))
    return PairedTest(mean, interval, (1 + extreme) / (1 + samples))


class _Shared:
    """Which queries share an image or a recording."""

    def __init__(self, ids: Sequence | Array, recordings: RecordingNames) -> None:
        images = _members([[image] for image in np.asarray(ids).tolist()])
        parts = _members(recordings)
        if images.shape[0] != parts.shape[0]:
            both = f"{images.shape[0]}, {parts.shape[0]}"
            raise ValueError(f"numbers of ids and lists of recordings differ: {both}")
        self._same_image = images @ images.T
        self._linked = (self._same_image + parts @ parts.T) > 0  # (queries, queries)
        self._units = min(images.shape[1], parts.shape[1])  # of the smaller factor

    @property
    def quantile(self) -> float:
        """Standard errors from the mean to an end of a 95 % interval."""
        return float(t.ppf(0.975, max(self._units - 1, 1)))

    def standard_error(self, values: Array) -> float:
        """That of the mean of values (queries,) without NaN, at least that over images alone."""
        errors = np.nan_to_num(values - np.nanmean(values))
        variances = [errors @ (linked @ errors) for linked in (self._linked, self._same_image)]
        return math.sqrt(max(*variances, 0.0)) / np.count_nonzero(~np.isnan(values))

    def p_value(self, differences: Array) -> float:
        """The two-sided p that their mean is 0, at least that of as many equal signs as units."""
        mean, error = abs(np.nanmean(differences)), self.standard_error(differences)
        if mean < 1e-12:
            return 1.0
        least = 2.0 ** (1 - self._units)
        return max(least, float(2 * t.sf(mean / max(error, 1e-12), max(self._units - 1, 1))))


def _members(lists: Sequence[Collection]) -> sparse.csr_array:
    """Which units each query has, (queries, units), 1 where it has one."""
    rows = np.repeat(np.arange(len(lists)), [len(set(units)) for units in lists])
    names = list(itertools.chain.from_iterable(set(units) for units in lists))
    _, columns = np.unique(np.array(names, dtype=object).astype(str), return_inverse=True)
    return sparse.csr_array(
        (np.ones(len(rows)), (rows, columns)), shape=(len(lists), len(set(names)))
    )


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
