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

Validation during training and the mini corpus's teacher use this module too.

Nothing is sorted: the rank is one plus the number of irrelevant items that score at least as high,
counted tile by tile, so memory does not grow with queries × items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
RECALL_AT = (1, 5, 10)  # the k of recall@k
TIE_TOLERANCE = 1e-6
_TILE_ROWS = 255 * 8  # columns are summed in uint8 over 255 rows at a time
_TILE_COLUMNS = 8192
_BLOCK = 512  # rows that search a whole set at once


@dataclass(frozen=True)
class RetrievalRanks:
    """Ranks of one direction of retrieval, query by query.

    Attributes:
        rank: (queries,) rank of the best relevant item, from 1.
        average_precision: (queries,) mean over relevant items of the precision at their positions.
        relevant: (queries,) number of relevant items.
        ids: (queries,) the queries' ids; a resampling keeps equal ones together.
        num_items: Number of items searched, by all queries or (queries,) by each.
    """

    rank: Array
    average_precision: Array
    relevant: Array
    ids: Array
    num_items: int | Array


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
        left: (left, dim) embeddings, e.g. of utterances; usually L2-normalised.
        right: (right, dim) embeddings, e.g. of images.
        left_ids: One id per row of ``left``; equal ids belong together.
        right_ids: One id per row of ``right``.

    Returns:
        Ranks with the left rows as queries, and with the right rows as queries.

    Raises:
        ValueError: Shapes disagree, a value is not finite, or a row has no counterpart.
    """
    left, right = _checked(left, "left"), _checked(right, "right")
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"embeddings of {left.shape[1]} and {right.shape[1]} dimensions")
    num_left, num_right = len(left), len(right)
    left_codes, right_codes = _codes(left_ids, right_ids, (num_left, num_right))
    left_table, left_count = _relevant_items(left_codes, right_codes, left_ids)
    right_table, right_count = _relevant_items(right_codes, left_codes, right_ids)
    left_score = _pair_scores(left_table, left, right)
    right_score = _pair_scores(right_table, right, left)
    left_ahead = np.zeros(left_table.shape, dtype=np.int64)
    right_ahead = np.zeros(right_table.shape, dtype=np.int64)
    for top in range(0, num_left, _TILE_ROWS):
        rows = slice(top, min(top + _TILE_ROWS, num_left))
        for begin in range(0, num_right, _TILE_COLUMNS):
            columns = slice(begin, min(begin + _TILE_COLUMNS, num_right))
            scores = left[rows] @ right[columns].T
            inside = (left_table[rows] >= columns.start) & (left_table[rows] < columns.stop)
            row, slot = np.nonzero(inside)
            scores[row, left_table[rows][row, slot] - columns.start] = -np.inf
            bounds = _bounds(left_score[rows], scores.dtype)
            for slot in range(bounds.shape[1]):
                ahead = np.count_nonzero(scores >= bounds[:, slot, None], axis=1)
                left_ahead[rows, slot] += ahead
            bounds = _bounds(right_score[columns], scores.dtype)
            for slot in range(bounds.shape[1]):
                right_ahead[columns, slot] += _count_columns(scores, bounds[:, slot])
    return (
        _finish(left_ahead, left_score, left_count, left_ids, num_right),
        _finish(right_ahead, right_score, right_count, right_ids, num_left),
    )


def rank_rows(rows: Array, ids: Sequence, groups: Sequence) -> RetrievalRanks | None:
    """Ranks rows (rows, dim) against those of other groups, e.g. utterances of other speakers.

    Equal ids belong together. A row searches neither itself nor its group. Rows whose id no other
    group has are left out; None: all are. It raises what :func:`rank_embeddings` does.
    """
    rows = _checked(rows, "rows")
    codes, group = _codes(ids, groups, (len(rows), len(rows)))
    found = []
    for start in range(0, len(rows), _BLOCK):
        for row, scores in enumerate(rows[start : start + _BLOCK] @ rows.T, start):
            others = group != group[row]
            relevant = others & (codes == codes[row])
            if relevant.any():
                bounds = np.sort(scores[relevant])[::-1] - TIE_TOLERANCE
                ahead = np.count_nonzero(scores[others & ~relevant] >= bounds[:, None], axis=1)
                place = np.arange(1, len(ahead) + 1)
                precision = np.mean(place / (place + ahead))
                found.append((ahead[0] + 1, precision, len(ahead), row, others.sum()))
    if not found:
        return None
    rank, average_precision, relevant, asked, searched = map(np.array, zip(*found, strict=True))
    return RetrievalRanks(rank, average_precision, relevant, np.asarray(ids)[asked], searched)


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
        raise ValueError(f"{len(left)} and {len(right)} ids for {shape[0]} and {shape[1]} rows")
    _, codes = np.unique(np.concatenate([left, right]), return_inverse=True)
    return codes[: len(left)], codes[len(left) :]


def _relevant_items(queries: Array, items: Array, names: Sequence | Array) -> tuple[Array, Array]:
    """Returns (queries, slots) indices of relevant items, padded by -1, and their counts."""
    order = np.argsort(items, kind="stable")
    first = np.searchsorted(items[order], queries, "left")
    count = np.searchsorted(items[order], queries, "right") - first
    if not count.all():
        row = int(np.argmin(count != 0))
        raise ValueError(
            f"{int((count == 0).sum())} queries have no relevant item, the first is row {row} "
            f"with id {names[row]!r}: do both sides come from the same set?"
        )
    offsets = np.arange(count.max())
    position = np.minimum(first[:, None] + offsets, len(items) - 1)
    return np.where(offsets < count[:, None], order[position], -1), count


def _pair_scores(table: Array, queries: Array, items: Array) -> Array:
    """Scores of the relevant pairs, (queries, most relevant items); +inf where there is none."""
    scores = np.full(table.shape, np.inf, dtype=np.float64)
    rows, columns = np.nonzero(table >= 0)
    for start in range(0, len(rows), 16384):
        r, c = rows[start : start + 16384], columns[start : start + 16384]
        scores[r, c] = np.einsum("pd,pd->p", queries[r], items[table[r, c]])
    return scores


def _bounds(scores: Array, dtype: np.dtype) -> Array:
    return (scores - TIE_TOLERANCE).astype(dtype)


def _count_columns(scores: Array, bounds: Array) -> Array:
    total = np.zeros(scores.shape[1], dtype=np.int64)
    for top in range(0, len(scores), 255):  # 255 ones still fit in a byte, and bytes add fast
        block = scores[top : top + 255] >= bounds
        total += np.add.reduce(block.view(np.uint8), axis=0, dtype=np.uint8)
    return total


def _finish(
    ahead: Array, scores: Array, count: Array, ids: Sequence | Array, num_items: int
) -> RetrievalRanks:
    valid = np.isfinite(scores)
    best = np.where(valid, ahead, np.iinfo(np.int64).max).min(axis=1)
    # the j-th best relevant item is at position j + (irrelevant items ahead of it)
    sorted_ahead = np.sort(np.where(valid, ahead, np.iinfo(np.int64).max // 2), axis=1)
    place = np.arange(1, ahead.shape[1] + 1)
    precision = np.where(place <= count[:, None], place / (place + sorted_ahead), 0.0)
    return RetrievalRanks(
        rank=best + 1,
        average_precision=precision.sum(axis=1) / count,
        relevant=count,
        ids=np.asarray(ids),
        num_items=num_items,
    )
