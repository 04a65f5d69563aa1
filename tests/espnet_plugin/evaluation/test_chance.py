from __future__ import annotations

import itertools

import numpy as np
import pytest

from espnet_plugin.evaluation.chance import chance_scores
from espnet_plugin.evaluation.retrieval import summarize
from tests.ranks import rank_scores


@pytest.mark.parametrize("relevant", [1, 2, 3, 5])
def test_equals_the_mean_over_all_orderings(relevant):
    items = 5
    ids = [0] * relevant + list(range(1, items - relevant + 1))
    ranks, precisions = [], []
    for order in itertools.permutations(range(items)):
        outcome, _ = rank_scores(
            np.vstack([np.array([order], dtype=float)] * len(set(ids))), sorted(set(ids)), ids
        )
        ranks.append(outcome.rank[0])
        precisions.append(outcome.average_precision[0])
    ranks = np.array(ranks)
    chance = chance_scores([relevant], items, recall_at=(1, 2, 5, 9))
    for k, value in chance.recall.items():
        assert value == pytest.approx(np.mean(ranks <= k))
    assert chance.mean_rank == pytest.approx(ranks.mean())
    assert chance.median_rank == pytest.approx(np.median(ranks))
    assert chance.mean_reciprocal_rank == pytest.approx(np.mean(1 / ranks))
    assert chance.mean_average_precision == pytest.approx(np.mean(precisions))


def test_known_values():
    flickr = chance_scores([1] * 5000, 1000)
    assert flickr.recall == pytest.approx({1: 0.001, 5: 0.005, 10: 0.01})
    assert flickr.median_rank == 500.5
    back = chance_scores([5] * 1000, 5000)  # one of five captions
    assert back.recall[10] == pytest.approx(0.00996, abs=1e-5)


def test_mixed_numbers_of_captions_are_averaged():
    mixed = chance_scores([1, 2], 4, recall_at=(1,))
    assert mixed.recall[1] == pytest.approx((1 / 4 + 2 / 4) / 2)


def test_sets_of_other_sizes_are_averaged():
    mixed = chance_scores([1, 2, 1], np.array([2, 4, 2]), recall_at=(1, 3))
    small, large = chance_scores([1], 2, recall_at=(1, 3)), chance_scores([2], 4, recall_at=(1, 3))
    assert mixed.recall == pytest.approx({1: 1 / 2, 3: 1})
    for name in ("mean_rank", "mean_reciprocal_rank", "mean_average_precision"):
        mean = (2 * getattr(small, name) + getattr(large, name)) / 3
        assert getattr(mixed, name) == pytest.approx(mean), name
    with pytest.raises(ValueError, match="are possible"):
        chance_scores([1, 3], np.array([4, 2]))


def test_random_embeddings_score_chance():
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(200), 5)
    forth, back = rank_scores(rng.random((1000, 200)), ids, np.arange(200))
    for ranks in (forth, back):
        chance = chance_scores(ranks.relevant, ranks.num_items)
        ours = summarize(ranks)
        assert ours.recall[10] == pytest.approx(chance.recall[10], abs=0.03)
        assert ours.mean_average_precision == pytest.approx(chance.mean_average_precision, abs=0.01)


def test_impossible_counts():
    with pytest.raises(ValueError, match="1 to 3 relevant"):
        chance_scores([4], 3)
