"""Scores of a random order: exact expectations, no simulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espnet_plugin.evaluation.retrieval import RetrievalScores


def chance_scores(
    relevant: Sequence[int] | np.ndarray, num_items: int, *, recall_at: Sequence[int] = (1, 5, 10)
) -> RetrievalScores:
    """Expected scores of random orderings.

    With R relevant among N items, none of them is among the first k with the hypergeometric
    probability P(rank > k) = C(N − R, k) / C(N, k). The median rank is that of this distribution
    averaged over the queries (if it is an interval, its midpoint): (N + 1) / 2 for R = 1.

    Args:
        relevant: (queries,) number of relevant items of each query.
        num_items: N.
        recall_at: The k of recall@k.
    """
    counts, queries = np.unique(np.asarray(relevant), return_counts=True)
    if counts.min() < 1 or counts.max() > num_items:
        raise ValueError(f"1 to {num_items} relevant items are possible, not {counts.tolist()}")
    share = queries / queries.sum()
    positions = np.arange(num_items + 1)
    survival = np.zeros(num_items + 1)  # P(rank > k) for k = 0..N
    precision = 0.0
    for count, weight in zip(counts, share, strict=True):
        survival += weight * _survival(int(count), num_items)
        precision += weight * _expected_average_precision(int(count), num_items)
    reached = 1.0 - survival
    lower = positions[np.argmax(reached >= 0.5 - 1e-12)]
    upper = positions[np.argmax(reached > 0.5 + 1e-12)]
    return RetrievalScores(
        recall={k: float(reached[min(k, num_items)]) for k in recall_at},
        median_rank=float(lower + upper) / 2,
        mean_rank=float(np.sum(share * (num_items + 1) / (counts + 1))),
        mean_reciprocal_rank=float(np.sum(np.diff(reached) / positions[1:])),
        mean_average_precision=float(precision),
    )


def _survival(relevant: int, num_items: int) -> np.ndarray:
    k = np.arange(num_items)
    # P(rank > k + 1) = P(rank > k) · (N − R − k) / (N − k)
    factors = np.maximum(num_items - relevant - k, 0) / (num_items - k)
    return np.concatenate([[1.0], np.cumprod(factors)])


def _expected_average_precision(relevant: int, num_items: int) -> float:
    if num_items == 1:
        return 1.0
    k = np.arange(1, num_items + 1)
    # A relevant item at k sees (k − 1)(R − 1)/(N − 1) other relevant ones before it on average.
    return float(np.mean((1 + (k - 1) * (relevant - 1) / (num_items - 1)) / k))
