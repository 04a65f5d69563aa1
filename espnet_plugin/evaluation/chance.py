"""The scores of a random order, as exact expectations and without simulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espnet_plugin.evaluation.retrieval import RECALL_AT, Array, RetrievalScores


def chance_scores(
    relevant: list[int] | Array, num_items: int | Array, *, recall_at: Sequence[int] = RECALL_AT
) -> RetrievalScores:
    """Expected scores of random orderings.

    With R relevant among N items, none of them is among the first k with the hypergeometric
    probability P(rank > k) = C(N − R, k) / C(N, k). The median rank is that of this distribution
    averaged over the queries (if it is an interval, its midpoint): (N + 1) / 2 for R = 1.

    Args:
        relevant: Number of relevant items of each query, (queries,).
        num_items: Number N of items, for all queries or for each, (queries,).
        recall_at: Numbers k of recall@k.
    """
    each = np.stack(np.broadcast_arrays(relevant, num_items))
    (counts, numbers), queries = np.unique(each, axis=1, return_counts=True)
    if counts.min() < 1 or (counts > numbers).any():
        raise ValueError(f"1 to {num_items} relevant items are possible, not {counts.tolist()}")
    share = queries / queries.sum()
    positions = np.arange(numbers.max() + 1)
    survival = np.zeros(len(positions))  # P(rank > k) for k = 0..N
    precision = 0.0
    for count, number, weight in zip(counts.tolist(), numbers.tolist(), share, strict=True):
        survival[: number + 1] += weight * _survival(count, number)
        precision += weight * _expected_average_precision(count, number)
    reached = 1.0 - survival
    lower = positions[np.argmax(reached >= 0.5 - 1e-12)]
    upper = positions[np.argmax(reached > 0.5 + 1e-12)]
    return RetrievalScores(
        recall={k: float(reached[min(k, len(reached) - 1)]) for k in recall_at},
        median_rank=float(lower + upper) / 2,
        mean_rank=float(np.sum(share * (numbers + 1) / (counts + 1))),
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
