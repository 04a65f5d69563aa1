"""Score how often a caption is nearer to its own image than to one that differs in one thing.

A list of the words is enough to find an image among unlike ones. It is not enough for a pair of
images of the same two things, with left and right, sizes or colours exchanged. The kinds of pairs
that a model cannot tell apart show what it does not understand.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espnet_plugin.data.hard_negatives import HardNegative, families
from espnet_plugin.evaluation.statistics import bootstrap_mean

CHANCE = 0.5


def score_hard_negatives(
    queries: np.ndarray,
    image: np.ndarray,
    *,
    image_of: Sequence[str],
    images: Sequence[str],
    pairs: Sequence[HardNegative],
) -> dict[str, dict]:
    """How often a query is nearer to its own image than to a hard negative, by kind.

    A tie counts as half.

    Args:
        queries: Embeddings of speech or texts, (queries, dim).
        image: Embeddings of images, (images, dim).
        image_of: Image id of each query.
        images: Image id of each row of ``image``.
        pairs: Pairs to compare; those with other images are ignored.

    Returns:
        By kind, ``accuracy`` (chance 0.5), ``pairs`` (number of compared queries) and ``interval``,
        for which families of images are resampled.
    """
    row_of = {name: row for row, name in enumerate(images)}
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(image_of):
        rows_of.setdefault(name, []).append(row)
    family = families(pairs)
    compared: dict[str, list[tuple[int, str, str]]] = {}
    for pair in pairs:
        if pair.negative in row_of:
            for row in rows_of.get(pair.image, ()):
                compared.setdefault(pair.kind, []).append((row, pair.image, pair.negative))
    scores = {}
    for kind, triples in compared.items():
        rows = [row for row, _, _ in triples]
        right = image[[row_of[name] for _, name, _ in triples]]
        wrong = image[[row_of[name] for _, _, name in triples]]
        margin = np.einsum("qd,qd->q", np.asarray(queries)[rows], right - wrong)
        values = (np.sign(margin) + 1) / 2
        scores[kind] = {
            "accuracy": float(values.mean()),
            "pairs": len(triples),
            "interval": bootstrap_mean(values, [family[name] for _, name, _ in triples]),
        }
    return scores
