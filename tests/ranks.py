"""Ranks of scores that a test writes down."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espnet_plugin.evaluation.retrieval import RetrievalRanks, rank_embeddings


def rank_scores(
    scores: np.ndarray, query_ids: Sequence | np.ndarray, item_ids: Sequence | np.ndarray
) -> tuple[RetrievalRanks, RetrievalRanks]:
    """Ranks the rows of a (queries, items) matrix of scores, and its columns: the rows are taken
    as embeddings, the items as unit vectors."""
    return rank_embeddings(scores, np.eye(scores.shape[1], dtype=scores.dtype), query_ids, item_ids)
