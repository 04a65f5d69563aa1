"""All retrieval scores of one data set, as one nested dictionary."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from espnet_plugin.data.inference_set import InferenceSet
from espnet_plugin.evaluation.chance import chance_scores
from espnet_plugin.evaluation.fusion import fuse
from espnet_plugin.evaluation.hard_negatives import score_hard_negatives
from espnet_plugin.evaluation.retrieval import RetrievalRanks, rank_embeddings, summarize
from espnet_plugin.evaluation.statistics import (
    Interval,
    bootstrap_means,
    bootstrap_median,
    paired_test,
)

Ranks = dict[str, dict[str, RetrievalRanks]]


def speech_embeddings(data: InferenceSet, fusion_weight: float | None) -> dict[str, np.ndarray]:
    """What stands for the speech in a set, (utterances, dim), by the system that it comes from.

    Args:
        data: The set's embeddings.
        fusion_weight: Weight of the parallel branch in ``fusion``, where there are both branches.
    """
    systems = dict(data.branches)
    if fusion_weight is not None and len(systems) == 2:
        systems["fusion"] = fuse(data, fusion_weight)
    if data.transcripts is not None:
        systems["asr"] = data.transcripts
    return systems


def rank_set(data: InferenceSet, *, fusion_weight: float | None = None) -> Ranks:
    """Ranks every pair of modalities that a set has.

    Args:
        data: The set to be scored.
        fusion_weight: Weight of the parallel branch in the fusion; None leaves the fusion out.

    Returns:
        Ranks by system (``parallel``, ``cascaded``, ``fusion``, ``asr``, ``teacher``) and direction
        (``speech_to_image``, ``image_to_speech``, ``speech_to_text``, ``text_to_speech``,
        ``text_to_image``, ``image_to_text``).
    """
    ranks: Ranks = {}
    for system, speech in speech_embeddings(data, fusion_weight).items():
        forth, back = rank_embeddings(speech, data.image, data.image_of, data.images)
        ranks[system] = {"speech_to_image": forth, "image_to_speech": back}
        if data.text is not None:
            forth, back = rank_embeddings(speech, data.text, data.image_of, data.image_of)
            ranks[system] |= {"speech_to_text": forth, "text_to_speech": back}
    if data.text is not None:
        forth, back = rank_embeddings(data.text, data.image, data.image_of, data.images)
        ranks["teacher"] = {"text_to_image": forth, "image_to_text": back}
    if not ranks:
        raise ValueError(f"{data.directory} holds neither speech nor text embeddings")
    return ranks


def hard_negative_scores(
    data: InferenceSet,
    *,
    fusion_weight: float | None = None,
    samples: int = 1000,
    seed: int = 0,
) -> dict:
    """Shares of hard negatives that each system tells apart, ``<system>.<kind>``.

    Args:
        data: A set with hard negatives.
        fusion_weight: As for ``rank_set``, whose systems these are.
        samples: Bootstrap resamples.
        seed: Seed of the resampling.
    """
    systems = speech_embeddings(data, fusion_weight)
    if data.text is not None:
        systems["teacher"] = data.text
    return {
        system: score_hard_negatives(
            queries,
            data.image,
            image_of=data.image_of,
            images=data.images,
            pairs=data.hard_negatives,
            samples=samples,
            seed=seed,
        )
        for system, queries in systems.items()
    }


def retrieval_scores(
    data: InferenceSet,
    ranks: Ranks,
    *,
    recall_at: Sequence[int] = (1, 5, 10),
    samples: int = 1000,
    seed: int = 0,
) -> dict:
    """Turns ranks into scores, intervals and chance.

    Args:
        data: The set.
        ranks: What ``rank_set`` returns.
        recall_at: The k of recall@k.
        samples: Bootstrap resamples of the images; 0 leaves the intervals out.
        seed: Seed of the resampling.

    Returns:
        ``<system>.<direction>.<measure>``, the 95 % intervals under
        ``intervals.<system>.<direction>.<measure>`` as [lower, upper], and ``images`` and
        ``utterances``.
    """
    scores: dict = {"images": len(data.images), "utterances": len(data.utterances)}
    intervals: dict = {}
    chance: dict = {}
    for system, directions in ranks.items():
        for direction, outcome in directions.items():
            measures = summarize(outcome, recall_at=recall_at).to_dict()
            scores.setdefault(system, {})[direction] = measures
            if direction not in chance:
                expected = chance_scores(outcome.relevant, outcome.num_items, recall_at=recall_at)
                chance[direction] = expected.to_dict()
            if samples:
                intervals.setdefault(system, {})[direction] = _intervals(
                    outcome, data.units(outcome.ids), recall_at, samples, seed
                )
    scores["chance"] = chance
    if samples:
        scores["intervals"] = intervals
    return scores


def compare_ranks(
    first: Ranks,
    second: Ranks,
    *,
    units: Callable[[np.ndarray], np.ndarray] = np.asarray,
    recall_at: Sequence[int] = (1, 5, 10),
    seed: int = 0,
) -> dict:
    """Paired tests of recall@k between two models, for what both have.

    Args:
        first: Of one model.
        second: Of the other.
        units: Pictures → what is resampled in their place, see :meth:`InferenceSet.units`.
        recall_at: The k of recall@k.
        seed: Seed of the resampling.

    Raises:
        ValueError: The queries are not the same, in the same order.
    """
    tests: dict = {}
    for system in [name for name in first if name in second]:
        for direction in [name for name in first[system] if name in second[system]]:
            ours, theirs = first[system][direction], second[system][direction]
            if not np.array_equal(ours.ids, theirs.ids) or ours.num_items != theirs.num_items:
                raise ValueError(f"{system} {direction}: the two models ran on different sets")
            drawn = units(ours.ids)
            for k in recall_at:
                test = paired_test(ours.rank <= k, theirs.rank <= k, drawn, seed=seed)
                found = tests.setdefault(system, {}).setdefault(direction, {})
                found[f"recall@{k}"] = test._asdict()
    if not tests:
        logging.warning("the two models have no branch in common: nothing was compared")
    return tests


def _intervals(
    ranks: RetrievalRanks, units: np.ndarray, recall_at: Sequence[int], samples: int, seed: int
) -> dict[str, Interval]:
    values = {f"recall@{k}": ranks.rank <= k for k in recall_at}
    values["mean_reciprocal_rank"] = 1.0 / ranks.rank
    table = np.stack(list(values.values()), axis=1)  # (queries, measures)
    found = bootstrap_means(table, units, samples=samples, seed=seed)
    median = bootstrap_median(ranks.rank, units, samples=samples, seed=seed)
    return {**dict(zip(values, found, strict=True)), "median_rank": median}
