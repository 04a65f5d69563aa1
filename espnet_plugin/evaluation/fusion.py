"""The two branches together: a weighted sum of their similarities, the weight chosen on dev."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espnet_plugin.evaluation.retrieval import rank_embeddings, summarize


def fuse(parallel: np.ndarray, cascaded: np.ndarray, weight: float) -> np.ndarray:
    """Returns ``weight * parallel + (1 - weight) * cascaded``, (utterances, dim).

    The result is left unnormalised on purpose: its dot product with an image is then exactly the
    weighted sum of both branches' cosines, in both directions of retrieval.
    """
    if parallel.shape != cascaded.shape:
        raise ValueError(f"branches of shapes {parallel.shape} and {cascaded.shape}")
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"the weight of the parallel branch lies between 0 and 1, not {weight}")
    return np.float32(weight) * parallel + np.float32(1.0 - weight) * cascaded


def choose_weight(
    parallel: np.ndarray,
    cascaded: np.ndarray,
    images: np.ndarray,
    speech_ids: Sequence,
    image_ids: Sequence,
    *,
    weights: Sequence[float] = tuple(i / 20 for i in range(21)),
    recall_at: Sequence[int] = (1, 5, 10),
) -> tuple[float, float]:
    """Finds the weight with the highest recall, averaged over ``recall_at`` and both directions.

    Use development data here: a weight chosen on the test set flatters the fusion. Of equally good
    weights the largest is taken, which leans on the parallel branch.

    Returns:
        The weight of the parallel branch, and the mean recall it reaches.
    """
    best = (0.0, -1.0)
    for weight in sorted(weights):
        directions = rank_embeddings(
            fuse(parallel, cascaded, weight), images, speech_ids, image_ids
        )
        recalls = [
            value
            for ranks in directions
            for value in summarize(ranks, recall_at=recall_at).recall.values()
        ]
        score = float(np.mean(recalls))
        if score >= best[1]:
            best = (float(weight), score)
    return best
