"""Fusion of both branches: a weighted sum of their similarities. The weight is selected on dev."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_plugin.data.image_embedding import read_embedding
from espnet_plugin.data.inference_set import InferenceSet
from espnet_plugin.data.scp import read_scp
from espnet_plugin.evaluation.retrieval import RECALL_AT, TIE_TOLERANCE
from espnet_plugin.utils.errors import DataError

WEIGHTS = tuple(i / 20 for i in range(21))
_BLOCK = 512  # utterances whose cosines with all images are in memory at once


@dataclass(frozen=True)
class Gallery:
    """Images that are searched: their ids, and their embeddings, (images, dim)."""

    images: tuple[str, ...]
    embeddings: np.ndarray


def gallery_of(dev: InferenceSet, train_dir: Path | None) -> Gallery:
    """A gallery like a user's, with the images of the development set and of the training set.

    Args:
        dev: Embeddings of the development set.
        train_dir: Data directory of the training set, with ``utt2image`` and ``image_feat.scp``;
            without one, the gallery has the development set's images alone.

    Raises:
        DataError: If a table is damaged or lacks an utterance, or an embedding cannot be read.
        FileNotFoundError: If a table is missing.
    """
    if train_dir is None:
        return Gallery(dev.images, dev.image)
    image_of, files = read_scp(train_dir / "utt2image"), read_scp(train_dir / "image_feat.scp")
    if lost := next((u for u in files if u not in image_of), None):
        raise DataError(
            f"{train_dir / 'utt2image'}: no image of utterance {lost}, which is in image_feat.scp; "
            "run stages 3 and 4 again"
        )
    own = frozenset(dev.images)
    others = {image_of[u]: file for u, file in files.items() if image_of[u] not in own}
    rows = [read_embedding(file) for file in others.values()]
    return Gallery((*dev.images, *others), np.vstack([dev.image, *rows]))


def fuse(data: InferenceSet, weight: float) -> np.ndarray:
    """Returns ``weight * parallel + (1 - weight) * cascaded``, (utterances, dim).

    The result is not normalised, so its dot product with an image is the weighted sum of both
    branches' cosines, in both directions of retrieval.
    """
    parallel, cascaded = np.asarray(data.parallel), np.asarray(data.cascaded)
    return np.float32(weight) * parallel + np.float32(1.0 - weight) * cascaded


def choose_weight(dev: InferenceSet, gallery: Gallery) -> float:
    """Finds the parallel branch's weight with the highest recall of images at 1, 5 and 10.

    Use development data: a weight chosen on the test set flatters the fusion. Among equally good
    weights it takes the largest, which favours the parallel branch.

    Args:
        dev: A set with both branches, whose utterances search.
        gallery: Images that they search. Few images favour a branch that confuses similar ones.
    """
    place = {image: column for column, image in enumerate(gallery.images)}
    right = np.array([place[image] for image in dev.image_of])
    ranks = np.zeros((len(WEIGHTS), len(right)))
    for start in range(0, len(right), _BLOCK):
        block = slice(start, start + _BLOCK)
        parallel, cascaded = (
            np.asarray(rows[block]) @ gallery.embeddings.T for rows in (dev.parallel, dev.cascaded)
        )
        for row, weight in enumerate(WEIGHTS):
            cosines = np.float32(weight) * parallel + np.float32(1.0 - weight) * cascaded
            bounds = np.take_along_axis(cosines, right[block, None], axis=1) - TIE_TOLERANCE
            ranks[row, block] = np.count_nonzero(cosines >= bounds, axis=1)  # itself counts as 1
    hits = sum(np.count_nonzero(ranks <= k, axis=1) for k in RECALL_AT)
    return max(zip(hits, WEIGHTS, strict=True))[1]


def branch_of(weight: float) -> str:
    """The branch that has a part in the sum with a weight of the parallel branch, or ``both``."""
    return {0.0: "cascaded", 1.0: "parallel"}.get(weight, "both")
