"""Utterances and the images they found, the best and worst of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from espnet_plugin.data.inference_set import InferenceSet
from espnet_plugin.evaluation.scores.retrieval import Ranks

QUERIES = 10  # best, worst and random ones
IMAGES = 5  # shown with each
_BLOCK = 1024  # utterances compared with all images at once


@dataclass(frozen=True)
class Found:
    """An image and its cosine with the utterance."""

    image: str
    score: float


@dataclass(frozen=True)
class Query:
    """One utterance and the images it found.

    Attributes:
        utterance: Utterance id.
        branch: The branch whose images are shown.
        found: The nearest images, best first.
        right: The right image.
        ranks: Rank of the right image by system.
    """

    utterance: str
    branch: str
    found: tuple[Found, ...]
    right: Found
    ranks: dict[str, int]

    @property
    def rank(self) -> int:
        """Rank of the right image by the branch that is shown."""
        return self.ranks[self.branch]

    @property
    def margin(self) -> float:
        """Cosine of the right image less that of the best wrong one."""
        wrong = (found.score for found in self.found if found.image != self.right.image)
        return self.right.score - next(wrong, 0.0)


def choose_examples(
    data: InferenceSet, ranks: Ranks, *, seed: int = 0
) -> dict[str, tuple[Query, ...]]:
    """Chooses ten utterances whose image is found best, ten where it is found worst, ten others.

    Best and worst are ordered by the rank of the right image, then by the margin. A list shows each
    image at most once; otherwise its five captions would fill the list.

    Args:
        data: The set.
        ranks: What ``rank_set`` returned for it.
        seed: Seed of the random ones.

    Returns:
        ``best`` and ``worst``, both in that order, and ``random``, in the set's order.
    """
    if not data.branches:
        return {"best": (), "worst": (), "random": ()}
    places = [(query.rank, -query.margin) for query in search(data, ranks)]
    order = sorted(range(len(places)), key=places.__getitem__)
    shuffled = np.random.default_rng(seed).permutation(len(places)).tolist()
    rows = {
        "best": _one_per_image(data, order),
        "worst": _one_per_image(data, reversed(order)),
        "random": sorted(_one_per_image(data, shuffled)),
    }
    return {name: tuple(search(data, ranks, chosen)) for name, chosen in rows.items()}


def search(data: InferenceSet, ranks: Ranks, rows: Sequence[int] | None = None) -> Iterator[Query]:
    """Finds the images nearest to utterances, by the parallel branch if there is one.

    Args:
        data: The set.
        ranks: What ``rank_set`` returned for it.
        rows: The utterances' rows; None for all.

    Yields:
        One query for each row, in that order; memory does not grow with their number.
    """
    branch, speech = next(iter(data.branches.items()))
    images = np.asarray(data.image)
    row_of = {image: row for row, image in enumerate(data.images)}
    rows = range(len(data.utterances)) if rows is None else rows
    systems = {
        system: directions["speech_to_image"].rank
        for system, directions in ranks.items()
        if "speech_to_image" in directions
    }
    for start in range(0, len(rows), _BLOCK):
        block = list(rows[start : start + _BLOCK])
        scores = np.asarray(speech[block]) @ images.T  # (block, images)
        for row, nearest, cosine in zip(block, _nearest(scores), scores, strict=True):
            own = row_of[data.image_of[row]]
            yield Query(
                utterance=data.utterances[row],
                branch=branch,
                found=tuple(Found(data.images[i], float(cosine[i])) for i in nearest),
                right=Found(data.images[own], float(cosine[own])),
                ranks={system: int(rank[row]) for system, rank in systems.items()},
            )


def _nearest(scores: np.ndarray) -> np.ndarray:
    """(block, images) columns of the highest scores, best first, equal ones in their order."""
    number = min(IMAGES, scores.shape[1])
    columns = np.sort(np.argpartition(-scores, number - 1, axis=1)[:, :number], axis=1)
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _one_per_image(data: InferenceSet, order: Iterable[int]) -> list[int]:
    chosen: dict[str, int] = {}
    for row in order:
        if len(chosen) == QUERIES:
            break
        chosen.setdefault(data.image_of[row], row)
    return list(chosen.values())
