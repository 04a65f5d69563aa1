from __future__ import annotations

import itertools

import numpy as np
import pytest

from espnet_plugin.evaluation.statistics import (
    bootstrap_mean,
    bootstrap_means,
    bootstrap_median,
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
    interval = bootstrap_mean(values, ids, samples=20000)
    lower, upper = np.quantile(exact, [0.025, 0.975])
    assert (interval.lower, interval.upper) == pytest.approx((lower, upper), abs=0.01)


def test_median_interval_equals_all_resamples():
    values = np.array([1.0, 5.0, 2.0, 9.0])
    exact = [np.median(values[list(d)]) for d in itertools.product(range(4), repeat=4)]
    interval = bootstrap_median(values, range(4), samples=20000)
    lower, upper = np.quantile(exact, [0.025, 0.975])
    assert (interval.lower, interval.upper) == pytest.approx((lower, upper), abs=0.5)


def test_blocks_and_columns_do_not_matter(monkeypatch):
    from espnet_plugin.evaluation import statistics

    rng = np.random.default_rng(0)
    values, ids = rng.random((50, 2)), np.arange(50) // 5
    both = bootstrap_means(values, ids, samples=300)
    assert both[1] == bootstrap_mean(values[:, 1], ids, samples=300)
    monkeypatch.setattr(statistics, "_BLOCK", 1000)
    blocks = bootstrap_means(values, ids, samples=300)
    assert blocks[0].lower == pytest.approx(both[0].lower)


def test_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        rate = rng.random(60) < 0.3
        values = np.repeat(rate, 5).astype(float)  # five captions of an image behave alike
        interval = bootstrap_mean(values, np.repeat(np.arange(60), 5), samples=200)
        inside += interval.lower <= 0.3 <= interval.upper
    assert 0.88 <= inside / 200 <= 0.99


def test_nan_is_left_out():
    interval = bootstrap_mean(np.array([1.0, np.nan, 1.0]), [0, 1, 2], samples=50)
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


def test_bad_input():
    with pytest.raises(ValueError, match="paired values of shapes"):
        paired_test(np.ones(2), np.ones(3), [0, 1])
    with pytest.raises(ValueError, match="numbers of values and ids differ: 2, 3"):
        bootstrap_mean(np.ones(2), [0, 1, 2])
