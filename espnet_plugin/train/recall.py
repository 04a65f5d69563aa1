"""Recall at k over a whole set, in chunks so that no full similarity matrix is held."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

RANKS = (1, 5, 10)


def retrieval_ranks(
    queries: Tensor,
    targets: Tensor,
    query_ids: Tensor,
    target_ids: Tensor,
    *,
    chunk_size: int = 1024,
) -> Tensor:
    """Position of each query's best right target, counted from 0.

    Targets that tie with the right one count before it, so that embeddings which have collapsed
    onto one point, or hold NaN, score as badly as they are.

    Args:
        queries: (queries, dim), L2-normalised.
        targets: (targets, dim), L2-normalised.
        query_ids: Image id of each query, (queries,).
        target_ids: Image id of each target, (targets,); one of equal id is enough.
        chunk_size: Queries compared at a time.

    Returns:
        Number of wrong targets that are at least as near as the nearest right one, (queries,).
    """
    ranks = []
    for start in range(0, len(queries), chunk_size):
        rows = slice(start, start + chunk_size)
        similarity = queries[rows] @ targets.T  # (chunk, targets)
        right = query_ids[rows, None] == target_ids[None, :]
        best = similarity.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
        ranks.append((~(similarity < best) & ~right).sum(dim=1))
    return torch.cat(ranks) if ranks else torch.zeros(0, dtype=torch.long)


def recall_both_ways(
    speech: Tensor,
    images: Tensor,
    image_ids: Tensor,
    *,
    ks: Sequence[int] = RANKS,
    chunk_size: int = 1024,
) -> dict[str, float]:
    """Recall at k from speech to image and back, and their mean.

    Each image counts once however many captions it has. From image to speech a query is a hit when
    any of the image's captions is among the k nearest, as is usual for these corpora.

    Args:
        speech: Utterance embeddings, (utterances, dim), L2-normalised.
        images: Embedding of each utterance's image, (utterances, dim), L2-normalised.
        image_ids: Image of each utterance, (utterances,).
        ks: Depths of the result list.
        chunk_size: Queries compared at a time.

    Returns:
        ``speech_to_image_recall_at_<k>``, ``image_to_speech_recall_at_<k>`` and
        ``recall_mean_at_<k>``, each from 0 to 1.
    """
    unique_ids, position = torch.unique(image_ids, return_inverse=True)
    first = torch.full_like(unique_ids, len(image_ids))
    order = torch.arange(len(image_ids), device=image_ids.device)
    first = first.scatter_reduce(0, position, order, reduce="amin")
    unique_images = images[first]
    to_image = retrieval_ranks(speech, unique_images, image_ids, unique_ids, chunk_size=chunk_size)
    to_speech = retrieval_ranks(unique_images, speech, unique_ids, image_ids, chunk_size=chunk_size)
    scores: dict[str, float] = {}
    for k in ks:
        speech_to_image = float((to_image < k).double().mean())
        image_to_speech = float((to_speech < k).double().mean())
        scores[f"speech_to_image_recall_at_{k}"] = speech_to_image
        scores[f"image_to_speech_recall_at_{k}"] = image_to_speech
        scores[f"recall_mean_at_{k}"] = (speech_to_image + image_to_speech) / 2
    return scores
