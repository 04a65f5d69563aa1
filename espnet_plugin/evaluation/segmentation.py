"""Score whether the boundaries of keyword segments match those of words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espnet_plugin.data.keyword_file import UtteranceKeywords
from espnet_plugin.data.words import SpokenWord
from espnet_plugin.evaluation.alignments import AlignmentError

SAME_BOUNDARY = 1e-3  # seconds; a word that starts so soon after another shares its boundary


@dataclass(frozen=True)
class SegmentationScores:
    """Agreement of segments with words, rates from 0 to 1 (R-value up to 1).

    Attributes:
        precision: Share of predicted boundaries that match a true one.
        recall: Share of true boundaries that are matched.
        f_score: Harmonic mean of precision and recall.
        over_segmentation: Predicted / true − 1, NaN without true ones. It is OS in vqwordseg's
            tables, recall / precision − 1, and is also defined if nothing matches.
        r_value: The score of :func:`r_value`, NaN without true ones.
        predicted: Number of predicted boundaries.
        reference: Number of true boundaries.
        tolerance: Number of seconds by which two matching times may differ.
    """

    precision: float
    recall: float
    f_score: float
    over_segmentation: float
    r_value: float
    predicted: int
    reference: int
    tolerance: float


def r_value(recall: float, over_segmentation: float) -> float:
    """R-value (Räsänen, Laine and Altosaar, Interspeech 2009).

    With hit rate H = recall and over-segmentation O = predicted / true boundaries − 1:
    ``r1 = sqrt((1 − H)² + O²)``, ``r2 = (H − 1 − O) / sqrt(2)``, ``R = 1 − (|r1| + |r2|) / 2``.
    Unlike F, it does not reward boundaries everywhere.
    """
    first = math.hypot(1 - recall, over_segmentation)
    second = (recall - 1 - over_segmentation) / math.sqrt(2)
    return 1 - (abs(first) + abs(second)) / 2


def inner_boundaries(segments: Iterable[tuple[float, float]]) -> list[float]:
    """Boundaries of segments (start, end), without the first start and the last end.

    Those two come for free. Where one segment ends and the next starts there is one boundary; a gap
    has two, as a pause between words has in ZeroSpeech.
    """
    ordered = sorted(segments)
    boundaries: list[float] = []
    for (_, end), (start, _) in zip(ordered, ordered[1:], strict=False):
        boundaries.append(end)
        if start - end > SAME_BOUNDARY:
            boundaries.append(start)
    return sorted(boundaries)


def count_matches(predicted: Sequence[float], reference: Sequence[float], tolerance: float) -> int:
    """Largest number of pairs that agree within ``tolerance``, each time used once.

    Taking the earliest pair first is the best that can be done for points on a line.

    Args:
        predicted: Times of the boundaries, increasing.
        reference: Times of the true boundaries, increasing.
        tolerance: Number of seconds by which two matching times may differ.
    """
    matches = first = second = 0
    while first < len(predicted) and second < len(reference):
        late = predicted[first] - reference[second]
        if abs(late) <= tolerance + 1e-9:
            matches, first, second = matches + 1, first + 1, second + 1
        elif late < 0:
            first += 1
        else:
            second += 1
    return matches


def count_boundaries(
    utterances: Sequence[UtteranceKeywords],
    words: Mapping[str, Sequence[SpokenWord]],
    tolerance: float,
) -> np.ndarray:
    """Counts boundaries of keyword segments and of words, as vqwordseg's ``score_boundaries``
    (Kamper, 2022) does within 20 ms.

    Args:
        utterances: Utterances with their keywords.
        words: Word alignment of each utterance.
        tolerance: Number of seconds by which two matching times may differ.

    Returns:
        Matched, predicted and true boundaries, (utterances, 3), NaN without segments or alignment.
    """
    rows: list[tuple[float, ...]] = []
    for utterance in utterances:
        segments = [(k.start, k.end) for k in utterance.keywords if None not in (k.start, k.end)]
        spoken = words.get(utterance.utterance)
        if spoken and segments:
            ours = inner_boundaries(segments)
            truth = inner_boundaries(word.span for word in spoken)
            rows.append((count_matches(ours, truth, tolerance), len(ours), len(truth)))
        else:
            rows.append((math.nan,) * 3)
    return np.array(rows)


def score_segmentation(counts: np.ndarray, tolerance: float) -> SegmentationScores:
    """Pools the counts of all utterances.

    Args:
        counts: Numbers that :func:`count_boundaries` gave, (utterances, 3).
        tolerance: Number of seconds within which they were counted.

    Raises:
        AlignmentError: If no utterance has both segments and an alignment.
    """
    if np.isnan(counts).all():
        raise AlignmentError("no utterance has both keyword segments and a word alignment")
    matched, predicted, reference = np.nansum(counts, axis=0).astype(int).tolist()
    recall = matched / reference if reference else 0.0
    over_segmentation = predicted / reference - 1 if reference else math.nan
    return SegmentationScores(
        precision=matched / predicted if predicted else 0.0,
        recall=recall,
        f_score=2 * matched / (predicted + reference) if predicted + reference else 0.0,
        over_segmentation=over_segmentation,
        r_value=r_value(recall, over_segmentation),
        predicted=predicted,
        reference=reference,
        tolerance=tolerance,
    )


def f_values(counts: np.ndarray) -> np.ndarray:
    r"""Numbers, one for each utterance, whose mean is the pooled F of ``score_segmentation``.

    F is a ratio of sums, :math:`F = \sum_u 2 m_u / \sum_u (p_u + r_u)` of matched, predicted and
    true boundaries. An utterance's number is F and its effect on F (delta method),
    :math:`F + (2 m_u - F (p_u + r_u)) / \overline{p + r}`. Intervals and tests over these numbers
    are about the pooled F.

    Args:
        counts: Numbers that :func:`count_boundaries` gave, (utterances, 3).

    Returns:
        The numbers, (utterances,), NaN where segments or alignment are missing.
    """
    matched, both = counts[:, 0], counts[:, 1] + counts[:, 2]
    if not np.nansum(both):
        return 0 * both
    f_score = 2 * np.nansum(matched) / np.nansum(both)
    return f_score + (2 * matched - f_score * both) / np.nanmean(both)
