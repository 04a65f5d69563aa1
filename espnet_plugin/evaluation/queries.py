"""Utterances and the images they found, the best and worst of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from espnet_plugin.data.inference_set import InferenceSet
from espnet_plugin.evaluation.retrieval import RetrievalRanks

QUERIES = 10  # best, worst and random ones
IMAGES = 5  # shown with each
_BLOCK = 1024  # utterances compared with all images at once


@dataclass(frozen=True)
class Found:
    """An image and its cosine with the utterance."""

    image: str
    score: float


@dataclass(frozen=True)
class Example:
    """One utterance and the images it found.

    Attributes:
        utterance: Id of the utterance.
        branch: Name of the branch whose images are shown.
        found: Nearest images, best first.
        right: The right image.
        ranks: Rank of the right image by each system.
    """

    utterance: str
    branch: str
    found: tuple[Found, ...]
    right: Found
    ranks: dict[str, int]


def choose_examples(
    data: InferenceSet, ranks: Mapping[str, RetrievalRanks], *, seed: int = 0
) -> dict[str, tuple[Example, ...]]:
    """Chooses ten utterances whose image is found best, ten where it is found worst, ten at random.

    Best and worst are ordered by the rank of the right image, then by the margin: its cosine less
    that of the best wrong image. The parallel branch ranks if there is one. A list shows each
    image at most once; otherwise its five captions would fill the list.

    Args:
        data: Embeddings of the set.
        ranks: Ranks of the images by each system, with the utterances as queries.
        seed: Seed of the random choice.

    Returns:
        ``best`` and ``worst``, both in that order, and ``random``, in the set's order.
    """
    if not data.branches:
        return {"best": (), "worst": (), "random": ()}
    branch, speech = next(iter(data.branches.items()))
    images = np.asarray(data.image)
    column_of = {image: column for column, image in enumerate(data.images)}
    own = np.array([column_of[image] for image in data.image_of])
    margins = []
    for start in range(0, len(own), _BLOCK):
        columns = own[start : start + _BLOCK]
        scores = np.asarray(speech[start : start + _BLOCK]) @ images.T  # (block, images)
        rows = np.arange(len(columns))
        right = scores[rows, columns]
        scores[rows, columns] = -np.inf
        margins.append(right - scores.max(axis=1))
    order = np.lexsort((-np.concatenate(margins), ranks[branch].rank)).tolist()
    shuffled = np.random.default_rng(seed).permutation(len(own)).tolist()

    def query(row: int) -> Example:
        scores = images @ np.asarray(speech[row])  # (images,)
        nearest = np.argsort(-scores, kind="stable")[:IMAGES]
        return Example(
            utterance=data.utterances[row],
            branch=branch,
            found=tuple(Found(data.images[i], float(scores[i])) for i in nearest),
            right=Found(data.image_of[row], float(scores[own[row]])),
            ranks={system: int(found.rank[row]) for system, found in ranks.items()},
        )

    rows = {
        "best": _one_per_image(data, order),
        "worst": _one_per_image(data, reversed(order)),
        "random": sorted(_one_per_image(data, shuffled)),
    }
    return {name: tuple(map(query, chosen)) for name, chosen in rows.items()}


def _one_per_image(data: InferenceSet, order: Iterable[int]) -> list[int]:
    chosen: dict[str, int] = {}
    for row in order:
        if len(chosen) == QUERIES:
            break
        chosen.setdefault(data.image_of[row], row)
    return list(chosen.values())
