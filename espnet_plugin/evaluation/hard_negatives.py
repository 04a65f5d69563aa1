"""Pictures that differ in one thing only: does a caption lie nearer to its own?

Recall among unlike pictures can be had from a list of the words. A pair of pictures of the same two
things, where left and right, large and small or the colours are exchanged, cannot be told apart by
it; which of such pairs are told apart says what a model does not understand.
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
    samples: int = 1000,
    seed: int = 0,
) -> dict[str, dict]:
    """How often a query is nearer to its own picture than to a hard negative, by kind.

    A tie counts as half.

    Args:
        queries: Speech or text embeddings (queries, dim).
        image: Image embeddings (images, dim).
        image_of: Image id of each query.
        images: Image id of each row of ``image``.
        pairs: What to compare with; those of other pictures are passed over.
        samples: Bootstrap resamples of the families; 0 leaves the intervals out.
        seed: Seed of the resampling.

    Returns:
        Kind → ``accuracy`` (chance 0.5), ``pairs`` (compared queries) and ``interval``.
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
        scores[kind] = {"accuracy": float(values.mean()), "pairs": len(triples)}
        if samples:
            ids = [family[name] for _, name, _ in triples]
            scores[kind]["interval"] = bootstrap_mean(values, ids, samples=samples, seed=seed)
    return scores
