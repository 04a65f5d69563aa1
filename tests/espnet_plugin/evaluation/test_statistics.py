from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import t

from espnet_plugin.evaluation.statistics import (
    mean_interval,
    mean_intervals,
    median_interval,
    paired_test,
)


def test_mean_interval_equals_all_resamples_of_five_images():
    values = np.array([0.31, 0.02, 0.13, 0.94, 0.77, 0.58])
    ids = ["a", "a", "b", "c", "d", "e"]
    sums, counts = np.array([0.33, 0.13, 0.94, 0.77, 0.58]), np.array([2, 1, 1, 1, 1])
    exact = [
        sums[list(draw)].sum() / counts[list(draw)].sum()
        for draw in itertools.product(range(5), repeat=5)
    ]
    interval = mean_interval(values, ids, samples=20000)
    lower, upper = np.quantile(exact, [0.025, 0.975])
    assert (interval.lower, interval.upper) == pytest.approx((lower, upper), abs=0.01)


def test_median_interval_equals_all_resamples():
    values = np.array([1.0, 5.0, 2.0, 9.0])
    exact = [np.median(values[list(d)]) for d in itertools.product(range(4), repeat=4)]
    interval = median_interval(values, range(4), samples=20000)
    lower, upper = np.quantile(exact, [0.025, 0.975])
    assert (interval.lower, interval.upper) == pytest.approx((lower, upper), abs=0.5)


def test_blocks_and_columns_do_not_matter(monkeypatch):
    from espnet_plugin.evaluation import statistics

    rng = np.random.default_rng(0)
    values, ids = rng.random((50, 2)), np.arange(50) // 5
    both = mean_intervals(values, ids, samples=300)
    assert both[1] == mean_interval(values[:, 1], ids, samples=300)
    monkeypatch.setattr(statistics, "_BLOCK", 1000)
    blocks = mean_intervals(values, ids, samples=300)
    assert blocks[0].lower == pytest.approx(both[0].lower)


def test_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        rate = rng.random(60) < 0.3
        values = np.repeat(rate, 5).astype(float)  # five captions of an image behave alike
        interval = mean_interval(values, np.repeat(np.arange(60), 5), samples=200)
        inside += interval.lower <= 0.3 <= interval.upper
    assert 0.88 <= inside / 200 <= 0.99


def test_nan_is_left_out():
    interval = mean_interval(np.array([1.0, np.nan, 1.0]), [0, 1, 2], samples=50)
    assert (interval.lower, interval.upper) == (1.0, 1.0)


def test_permutation_p_value_equals_all_sign_flips():
    first = np.array([1.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    second = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    difference = first - second
    exact = np.mean(
        [
            abs(np.dot(signs, difference)) >= abs(difference.sum())
            for signs in itertools.product((-1, 1), repeat=6)
        ]
    )
    test = paired_test(first, second, np.arange(6), samples=20000)
    assert test.difference == pytest.approx(0.5)
    assert test.p_value == pytest.approx(exact, abs=0.01)


def test_equal_systems_do_not_differ():
    values = np.array([1.0, 0.0, 1.0])
    assert paired_test(values, values, [0, 1, 2], samples=100).p_value == 1.0


def test_captions_of_one_image_are_no_independent_evidence():
    first, second = np.ones(20), np.zeros(20)
    alone = paired_test(first, second, np.arange(20), samples=1000)
    together = paired_test(first, second, np.zeros(20), samples=1000)
    assert alone.p_value < 0.01 < together.p_value


def crossed(rng, queries=40, images=8, recordings=12):
    """Values with an effect of each image and each recording, three recordings a query."""
    ids = rng.integers(images, size=queries)
    parts = rng.integers(recordings, size=(queries, 3))
    effects = rng.standard_normal(recordings)[parts].sum(axis=1)
    values = rng.standard_normal(images)[ids] + effects + rng.standard_normal(queries)
    return values, ids, [{f"r{part}" for part in row} for row in parts]


def slow_error(values, ids, recordings) -> float:
    """The standard error of a mean, pair by pair."""
    known = [n for n, value in enumerate(values) if not math.isnan(value)]
    mean = sum(values[n] for n in known) / len(known)
    total = same_image = 0.0
    for a, b in itertools.product(known, repeat=2):
        product = (values[a] - mean) * (values[b] - mean)
        same_image += product * (ids[a] == ids[b])
        total += product * (ids[a] == ids[b] or not recordings[a].isdisjoint(recordings[b]))
    return math.sqrt(max(total, same_image)) / len(known)


@pytest.mark.parametrize("seed", range(5))
def test_crossed_factors_count_each_pair_that_shares_one_once(seed):
    values, ids, recordings = crossed(np.random.default_rng(seed))
    values[3] = np.nan
    error = slow_error(values, ids, recordings)
    factor = t.ppf(0.975, len(set(ids.tolist())) - 1)  # images are the smaller factor
    interval = mean_interval(values, ids, recordings=recordings)
    center = np.nanmean(values)
    assert interval == pytest.approx((center - factor * error, center + factor * error))
    test = paired_test(values, np.zeros(len(values)), ids, recordings=recordings)
    expected = 2 * t.sf(abs(center) / error, len(set(ids.tolist())) - 1)
    assert test.p_value == pytest.approx(max(expected, 2.0**-7))
    assert test.interval == interval


def test_intervals_hold_where_few_recordings_are_joined_to_many_utterances():
    """Images alone would say 95 % where 70 % is true."""
    rng = np.random.default_rng(0)
    inside = {"images": 0, "both": 0}
    for _ in range(100):
        values, ids, recordings = crossed(rng, queries=300, images=60, recordings=60)
        for name, made_of in (("images", None), ("both", recordings)):
            interval = mean_interval(values, ids, recordings=made_of, samples=200)
            inside[name] += interval.lower <= 0 <= interval.upper
    assert inside["images"] < 85 and 90 <= inside["both"]


def test_a_median_of_linked_queries_has_a_wider_interval():
    rng = np.random.default_rng(0)
    parts = np.arange(200) // 20  # ten recordings, twenty utterances of each
    ranks = np.ceil(np.exp(rng.standard_normal(10))[parts] * 10 + rng.random(200))
    ids, recordings = np.arange(200), [{str(part)} for part in parts]
    alone, linked = (median_interval(ranks, ids, recordings=r) for r in (None, recordings))
    assert linked.lower < alone.lower <= np.median(ranks) <= alone.upper < linked.upper


def test_ranks_equal_to_the_median_are_up_to_it():
    """The share up to 1 is 3/4 with a standard error of 0.22: 3.2 of them reach both ends."""
    recordings = [{"a"}, {"b"}, {"c"}, {"d"}]
    assert median_interval([1, 1, 1, 2], range(4), recordings=recordings) == (1, 2)


def test_few_recordings_prove_nothing():
    ones, zeros = np.ones(40), np.zeros(40)
    linked = [{"a"} if n % 2 else {"b"} for n in range(40)]
    assert paired_test(ones, zeros, np.arange(40), recordings=linked).p_value == 0.5
    assert paired_test(ones, ones, np.arange(40), recordings=linked).p_value == 1.0


def test_bad_input():
    with pytest.raises(ValueError, match="paired values of shapes"):
        paired_test(np.ones(2), np.ones(3), [0, 1])
    with pytest.raises(ValueError, match="lists of recordings differ: 2, 1"):
        mean_interval(np.ones(2), [0, 1], recordings=[{"a"}])
    with pytest.raises(ValueError, match="numbers of values and ids differ: 2, 3"):
        mean_interval(np.ones(2), [0, 1, 2])
