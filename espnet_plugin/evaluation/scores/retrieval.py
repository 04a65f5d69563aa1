"""All retrieval scores of one data set, as one nested dictionary."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from espnet_plugin.evaluation.chance import chance_scores
from espnet_plugin.evaluation.fusion import choose_weight, fuse
from espnet_plugin.evaluation.inference_set import InferenceSet
from espnet_plugin.evaluation.retrieval import RetrievalRanks, rank_embeddings, summarize
from espnet_plugin.evaluation.statistics import (
    Interval,
    bootstrap_means,
    bootstrap_median,
    paired_test,
)

Ranks = dict[str, dict[str, RetrievalRanks]]


def choose_fusion_weight(dev: InferenceSet) -> float | None:
    """Chooses the parallel branch's weight on a development set; None without both branches."""
    if len(dev.branches) < 2:
        return None
    arrays = [np.asarray(array) for array in (dev.parallel, dev.cascaded, dev.image)]
    return choose_weight(*arrays, dev.image_of, dev.images)[0]


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
    systems = dict(data.branches)
    if fusion_weight is not None and len(systems) == 2:
        branches = np.asarray(data.parallel), np.asarray(data.cascaded)
        systems["fusion"] = fuse(*branches, fusion_weight)
    if data.transcripts is not None:
        systems["asr"] = data.transcripts
    ranks: Ranks = {}
    for system, speech in systems.items():
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


def report_retrieval(
    data: InferenceSet,
    ranks: Mapping[str, Mapping[str, RetrievalRanks]],
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
    report: dict = {"images": len(data.images), "utterances": len(data.utterances)}
    intervals: dict = {}
    chance: dict = {}
    for system, directions in ranks.items():
        for direction, outcome in directions.items():
            scores = summarize(outcome, recall_at=recall_at)
            report.setdefault(system, {})[direction] = scores.to_dict()
            if direction not in chance:
                expected = chance_scores(outcome.relevant, outcome.num_items, recall_at=recall_at)
                chance[direction] = expected.to_dict()
            if samples:
                intervals.setdefault(system, {})[direction] = _intervals(
                    outcome, recall_at, samples, seed
                )
    report["chance"] = chance
    if samples:
        report["intervals"] = intervals
    return report


def compare_ranks(
    first: Mapping[str, Mapping[str, RetrievalRanks]],
    second: Mapping[str, Mapping[str, RetrievalRanks]],
    *,
    recall_at: Sequence[int] = (1, 5, 10),
    samples: int = 10000,
    seed: int = 0,
) -> dict:
    """Paired tests of recall@k between two models, for what both have.

    Raises:
        ValueError: The queries are not the same, in the same order.
    """
    report: dict = {}
    for system in [name for name in first if name in second]:
        for direction in [name for name in first[system] if name in second[system]]:
            ours, theirs = first[system][direction], second[system][direction]
            if not np.array_equal(ours.ids, theirs.ids) or ours.num_items != theirs.num_items:
                raise ValueError(f"{system} {direction}: the two models ran on different sets")
            for k in recall_at:
                test = paired_test(
                    ours.rank <= k, theirs.rank <= k, ours.ids, samples=samples, seed=seed
                )
                report.setdefault(system, {}).setdefault(direction, {})[f"recall@{k}"] = {
                    "difference": test.difference,
                    "interval": [test.interval.lower, test.interval.upper],
                    "p_value": test.p_value,
                }
    if not report:
        logging.warning("the two models have no branch in common: nothing was compared")
    return report


def _intervals(
    ranks: RetrievalRanks, recall_at: Sequence[int], samples: int, seed: int
) -> dict[str, list[float]]:
    measures: list[tuple[str, Callable]] = [
        (f"recall@{k}", lambda rank, k=k: rank <= k) for k in recall_at
    ]
    measures.append(("mean_reciprocal_rank", lambda rank: 1.0 / rank))
    values = np.stack([measure(ranks.rank) for _, measure in measures], axis=1)
    found = bootstrap_means(values, ranks.ids, samples, seed=seed)
    result = {name: _pair(i) for (name, _), i in zip(measures, found, strict=True)}
    median = bootstrap_median(ranks.rank, ranks.ids, samples=samples, seed=seed)
    return result | {"median_rank": _pair(median)}


def _pair(interval: Interval) -> list[float]:
    return [interval.lower, interval.upper]
