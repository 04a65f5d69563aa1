"""Utterances and the pictures that they found; which are found best, and which worst."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from espnet_plugin.evaluation.inference_set import InferenceSet
from espnet_plugin.evaluation.scores.retrieval import Ranks

QUERIES = 10  # found best, and found worst
PICTURES = 5  # shown with each


@dataclass(frozen=True)
class Found:
    """A picture and its cosine with the utterance."""

    image: str
    score: float


@dataclass(frozen=True)
class Query:
    """One utterance and the pictures that it found.

    Attributes:
        utterance: Utterance id.
        branch: The branch whose pictures are shown.
        found: The nearest pictures, best first.
        right: The right picture.
        ranks: Rank of the right picture by system.
    """

    utterance: str
    branch: str
    found: tuple[Found, ...]
    right: Found
    ranks: dict[str, int]


def best_and_worst(data: InferenceSet, ranks: Ranks) -> tuple[list[Query], list[Query]]:
    """Chooses the ten utterances whose picture is found best, and those where it is found worst.

    They are ordered by the rank of the right picture and then by the margin, its cosine less that
    of the best wrong picture. Each picture comes once at most in either list, else its five
    captions would fill it.

    Args:
        data: The set.
        ranks: What ``rank_set`` returned for it.

    Returns:
        Best first, and worst first.
    """
    if not data.branches:
        return [], []
    branch, speech = next(iter(data.branches.items()))
    rank = ranks[branch]["speech_to_image"].rank
    margin = _margins(data, speech)
    order = np.lexsort((-margin, rank))
    best, worst = _one_per_image(data, order), _one_per_image(data, order[::-1])
    return tuple([search(data, ranks, row) for row in rows] for rows in (best, worst))


def search(data: InferenceSet, ranks: Ranks, row: int) -> Query:
    """Finds the pictures nearest to an utterance by its first branch: parallel, where there is one.

    Args:
        data: The set.
        ranks: What ``rank_set`` returned for it.
        row: The utterance's row.
    """
    branch, speech = next(iter(data.branches.items()))
    scores = np.asarray(data.image) @ speech[row]  # (images,)
    nearest = np.argsort(-scores, kind="stable")[:PICTURES]
    own = data.images.index(data.image_of[row])
    return Query(
        utterance=data.utterances[row],
        branch=branch,
        found=tuple(Found(data.images[i], float(scores[i])) for i in nearest),
        right=Found(data.images[own], float(scores[own])),
        ranks={
            system: int(directions["speech_to_image"].rank[row])
            for system, directions in ranks.items()
            if "speech_to_image" in directions
        },
    )


def _margins(data: InferenceSet, speech: np.ndarray) -> np.ndarray:
    """(utterances,) cosine of the right picture less the best wrong one's."""
    images = np.asarray(data.image)
    row_of = {image: row for row, image in enumerate(data.images)}
    right = np.array([row_of[image] for image in data.image_of])
    margins = np.empty(len(right))
    for start in range(0, len(right), 1024):
        scores = np.asarray(speech[start : start + 1024]) @ images.T  # (block, images)
        rows, columns = np.arange(len(scores)), right[start : start + 1024]
        own = scores[rows, columns].copy()
        scores[rows, columns] = -np.inf
        margins[start : start + 1024] = own - scores.max(axis=1) if len(images) > 1 else own
    return margins


def _one_per_image(data: InferenceSet, order: Iterable[int]) -> list[int]:
    chosen: dict[str, int] = {}
    for row in order:
        if len(chosen) == QUERIES:
            break
        chosen.setdefault(data.image_of[row], int(row))
    return list(chosen.values())
