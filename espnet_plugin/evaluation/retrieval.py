"""Cross-modal retrieval: exact ranks by counting, and measures of them.

Every number of this project follows these rules:

* **Relevance.** An item is relevant for a query if both carry the same id (the image's). With five
  captions for an image, image → speech has five relevant items and is a hit if *any* of them is
  among the first k. Speech → text has five relevant captions, not only the utterance's own.
* **Ties count against the system.** An irrelevant item is ahead of the relevant one unless its
  score is lower by more than ``TIE_TOLERANCE``, the precision of float32 dot products of unit
  vectors. A collapsed model, whose scores are all equal, gets no credit. Relevant items do not push
  each other down.
* **Rank** is that of the best relevant item, from 1.

Validation during training and the training of mini's small CLIP use this module too.

The items are not sorted: the rank is one plus the number of irrelevant items that score at least as
high, counted block by block, so memory does not grow with queries × items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
RECALL_AT = (1, 5, 10)  # the k of recall@k
TIE_TOLERANCE = 1e-6
_BLOCK = 512  # queries that search a whole set at once


@dataclass(frozen=True)
class RetrievalRanks:
    """Ranks of one direction of retrieval, query by query.

    Attributes:
        rank: Rank of the best relevant item, from 1, (queries,).
        average_precision: Mean precision at the positions of the relevant items, (queries,).
        relevant: Number of relevant items, (queries,).
        ids: Ids of the queries, (queries,); a resampling keeps equal ones together.
        rows: Row of each query among all that could have been asked, (queries,).
        num_items: Number of items that were searched, (queries,).
    """

    rank: Array
    average_precision: Array
    relevant: Array
    ids: Array
    rows: Array
    num_items: Array


@dataclass(frozen=True)
class RetrievalScores:
    """Measures of one direction, rates from 0 to 1, ranks from 1."""

    recall: dict[int, float]
    median_rank: float
    mean_rank: float
    mean_reciprocal_rank: float
    mean_average_precision: float

    def to_dict(self) -> dict[str, float]:
        """Returns the measures under the names that scores.json uses."""
        return {
            **{f"recall@{k}": value for k, value in self.recall.items()},
            "median_rank": self.median_rank,
            "mean_rank": self.mean_rank,
            "mean_reciprocal_rank": self.mean_reciprocal_rank,
            "mean_average_precision": self.mean_average_precision,
        }


def rank_embeddings(
    left: Array,
    right: Array,
    left_ids: Sequence | Array,
    right_ids: Sequence | Array,
) -> tuple[RetrievalRanks, RetrievalRanks]:
    """Ranks two sets of embeddings against each other by dot product, in both directions at once.

    Args:
        left: Embeddings, e.g. of utterances, (left, dim); usually L2-normalised.
        right: Embeddings, e.g. of images, (right, dim).
        left_ids: Id of each row of ``left``; equal ids belong together.
        right_ids: Id of each row of ``right``.

    Returns:
        Ranks with the left rows as queries, and with the right rows as queries.

    Raises:
        ValueError: If shapes disagree, a value is not finite, or a row has no counterpart.
    """
    left, right = _checked(left, "left"), _checked(right, "right")
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"embeddings of {left.shape[1]} and {right.shape[1]} dimensions")
    left_codes, right_codes = _codes(left_ids, right_ids, (len(left), len(right)))
    for codes, others, ids in (
        (left_codes, right_codes, left_ids),
        (right_codes, left_codes, right_ids),
    ):
        alone = np.flatnonzero(~np.isin(codes, others))
        if len(alone):
            raise ValueError(
                f"queries without a relevant item: {len(alone)}, the first is row {alone[0]} "
                f"with id {ids[alone[0]]!r}: do both sides come from the same set?"
            )
    return (
        _rank(left, right, left_codes, right_codes, left_ids),
        _rank(right, left, right_codes, left_codes, right_ids),
    )


def rank_rows(rows: Array, ids: Sequence, groups: Sequence) -> RetrievalRanks | None:
    """Ranks rows (rows, dim) against those of other groups, e.g. utterances of other speakers.

    Equal ids belong together. A row searches neither itself nor its group. Rows whose id no other
    group has are left out; if all are, it gives None. It raises what :func:`rank_embeddings` does.
    """
    rows = _checked(rows, "rows")
    codes, group = _codes(ids, groups, (len(rows), len(rows)))
    ranks = _rank(rows, rows, codes, codes, ids, group)
    return ranks if len(ranks.rank) else None


def summarize(ranks: RetrievalRanks, *, recall_at: Sequence[int] = RECALL_AT) -> RetrievalScores:
    """Computes the measures of one direction.

    recall@k is the share of queries with a relevant item among the first k (k above the number of
    items is allowed and gives 1), the mean reciprocal rank the mean of 1/rank.
    """
    rank = ranks.rank
    return RetrievalScores(
        recall={k: float(np.mean(rank <= k)) for k in recall_at},
        median_rank=float(np.median(rank)),
        mean_rank=float(np.mean(rank)),
        mean_reciprocal_rank=float(np.mean(1.0 / rank)),
        mean_average_precision=float(np.mean(ranks.average_precision)),
    )


def _checked(values: Array, name: str) -> Array:
    values = np.asarray(values)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"{name} must be a filled matrix, but its shape is {values.shape}")
    if not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"{name} must hold floating-point numbers, not {values.dtype}")
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    for start in range(0, len(values), 65536):
        bad = ~np.isfinite(values[start : start + 65536]).all(axis=1)
        if bad.any():
            raise ValueError(f"{name} holds NaN or infinity in row {start + int(bad.argmax())}")
    return values


def _codes(left: Sequence | Array, right: Sequence | Array, shape: tuple[int, int]) -> tuple:
    left, right = np.asarray(left), np.asarray(right)
    if (len(left), len(right)) != shape:
        raise ValueError(f"ids: {len(left)} and {len(right)}, rows: {shape[0]} and {shape[1]}")
    _, codes = np.unique(np.concatenate([left, right]), return_inverse=True)
    return codes[: len(left)], codes[len(left) :]


def _rank(
    queries: Array,
    items: Array,
    codes: Array,
    item_codes: Array,
    ids: Sequence | Array,
    group: Array | None = None,
) -> RetrievalRanks:
    """Ranks the queries that have a relevant item; with groups, a query searches the others."""
    found = []
    for start in range(0, len(queries), _BLOCK):
        for row, scores in enumerate(queries[start : start + _BLOCK] @ items.T, start):
            same = item_codes == codes[row]
            others = np.True_ if group is None else group != group[row]
            relevant, wrong = same & others, ~same & others
            if relevant.any():
                bounds = np.sort(scores[relevant])[::-1] - TIE_TOLERANCE
                # the j-th best relevant item is at position j + (irrelevant items ahead of it)
                ahead = np.count_nonzero(scores[wrong] >= bounds[:, None], axis=1)
                place = np.arange(1, len(ahead) + 1)
                precision = np.mean(place / (place + ahead))
                number = len(ahead) + np.count_nonzero(wrong)
                found.append((ahead[0] + 1, precision, len(ahead), row, number))
    columns = zip(*found, strict=True) if found else [np.zeros(0, int)] * 5
    rank, average_precision, count, asked, searched = map(np.array, columns)
    return RetrievalRanks(rank, average_precision, count, np.asarray(ids)[asked], asked, searched)
