"""Where keywords lie: on the word they name, and between word boundaries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espnet_plugin.data.alignments import AlignmentError, Word
from espnet_plugin.data.keyword_file import Keyword, UtteranceKeywords
from espnet_plugin.evaluation.token_texts import (
    SPECIAL_IDS,
    is_content,
    merge_words,
    split_words,
    texts_of,
)

SAME_BOUNDARY = 1e-3  # seconds; a word's end and the next one's start, when they touch


@dataclass(frozen=True)
class BoundaryScores:
    """Agreement of predicted with true boundaries, rates from 0 to 1 (R-value up to 1).

    Attributes:
        precision: Share of predicted boundaries that match a true one.
        recall: Share of true boundaries that are matched.
        f_score: Their harmonic mean.
        over_segmentation: predicted / reference − 1, NaN without true boundaries.
        r_value: ``1 − (|r1| + |r2|) / 2``, see ``r_value``; NaN likewise.
        predicted: Number of predicted boundaries.
        reference: Number of true boundaries.
        tolerance: Seconds.
    """

    precision: float
    recall: float
    f_score: float
    over_segmentation: float
    r_value: float
    predicted: int
    reference: int
    tolerance: float


@dataclass(frozen=True)
class LocalizationScores:
    """Whether keywords that name a spoken content word lie on it.

    Attributes:
        centre: Share of them whose segment's centre lies on an occurrence of the word.
        overlap: Share of them whose segment overlaps an occurrence of the word.
        keywords: Number of them.
        utterances: Number of utterances with an alignment.
    """

    centre: float
    overlap: float
    keywords: int
    utterances: int


def r_value(recall: float, over_segmentation: float) -> float:
    """R-value (Räsänen, Laine and Altosaar, Interspeech 2009).

    With hit rate H = recall and over-segmentation O = predicted / true boundaries − 1:
    ``r1 = sqrt((1 − H)² + O²)``, ``r2 = (H − 1 − O) / sqrt(2)``, ``R = 1 − (|r1| + |r2|) / 2``.
    Unlike F, it does not reward boundaries put everywhere.
    """
    first = math.hypot(1 - recall, over_segmentation)
    second = (recall - 1 - over_segmentation) / math.sqrt(2)
    return 1 - (abs(first) + abs(second)) / 2


def inner_boundaries(segments: Sequence[tuple[float, float]]) -> list[float]:
    """Starts and ends of segments but for the first start and the last end, which are given away.

    Where one segment ends and the next one starts there is one boundary; a gap has two.
    """
    ordered = sorted(segments)
    boundaries: list[float] = []
    for (_, end), (start, _) in zip(ordered, ordered[1:], strict=False):
        boundaries.append(end)
        if start - end > SAME_BOUNDARY:
            boundaries.append(start)
    return sorted(boundaries)


def count_matches(predicted: Sequence[float], reference: Sequence[float], tolerance: float) -> int:
    """Largest number of pairs of boundaries no further apart than ``tolerance``, each used once."""
    matches = first = second = 0
    predicted, reference = sorted(predicted), sorted(reference)
    while first < len(predicted) and second < len(reference):
        distance = predicted[first] - reference[second]
        if abs(distance) <= tolerance + 1e-9:
            matches, first, second = matches + 1, first + 1, second + 1
        elif distance < 0:
            first += 1
        else:
            second += 1
    return matches


def score_boundaries(
    utterances: Sequence[UtteranceKeywords],
    words: Mapping[str, Sequence[Word]],
    *,
    tolerance: float = 0.05,
) -> BoundaryScores:
    """Compares the inner boundaries of keyword segments and of words, pooled over utterances.

    Utterances without alignment or without segments are left out.

    Raises:
        AlignmentError: No utterance has both.
    """
    matched = predicted = reference = utterances_used = 0
    for utterance in utterances:
        counts = _count_boundaries(utterance, words, tolerance)
        if counts is None:
            continue
        matched, predicted, reference = (
            total + count
            for total, count in zip((matched, predicted, reference), counts, strict=True)
        )
        utterances_used += 1
    if not utterances_used:
        raise AlignmentError("no utterance has both keyword segments and a word alignment")
    precision = matched / predicted if predicted else 0.0
    recall = matched / reference if reference else 0.0
    over_segmentation = predicted / reference - 1 if reference else math.nan
    return BoundaryScores(
        precision=precision,
        recall=recall,
        f_score=2 * matched / (predicted + reference) if predicted + reference else 0.0,
        over_segmentation=over_segmentation,
        r_value=r_value(recall, over_segmentation),
        predicted=predicted,
        reference=reference,
        tolerance=tolerance,
    )


def boundary_f_values(
    utterances: Sequence[UtteranceKeywords],
    words: Mapping[str, Sequence[Word]],
    *,
    tolerance: float = 0.05,
) -> np.ndarray:
    r"""One number of each utterance, whose mean is the pooled F of ``score_boundaries``.

    F is a ratio of sums, :math:`F = \sum_u 2 m_u / \sum_u (p_u + r_u)` of matched, predicted and
    true boundaries. An utterance's number is F and what the utterance moves it by (delta method),
    :math:`F + (2 m_u - F (p_u + r_u)) / \overline{p + r}`, so that intervals and tests over
    utterances are about the pooled F.

    Returns:
        (utterances,), NaN where segments or alignment are missing.
    """
    counts = [_count_boundaries(utterance, words, tolerance) for utterance in utterances]
    nothing = (math.nan, math.nan, math.nan)
    matched, predicted, reference = np.array([found or nothing for found in counts]).T
    both = predicted + reference  # (utterances,)
    if not np.nansum(both):
        return 0 * both
    f_score = 2 * np.nansum(matched) / np.nansum(both)
    return f_score + (2 * matched - f_score * both) / np.nanmean(both)


def _count_boundaries(
    utterance: UtteranceKeywords, words: Mapping[str, Sequence[Word]], tolerance: float
) -> tuple[int, int, int] | None:
    """Matched, predicted and true inner boundaries; None without segments or alignment."""
    segments = _segments(utterance.keywords)
    spoken = words.get(utterance.utterance)
    if not spoken or not segments:
        return None
    ours = inner_boundaries(segments)
    truth = inner_boundaries([(word.start, word.end) for word in spoken])
    return count_matches(ours, truth, tolerance), len(ours), len(truth)


def score_localization(
    utterances: Sequence[UtteranceKeywords],
    words: Mapping[str, Sequence[Word]],
    texts: Mapping[int, str],
) -> LocalizationScores:
    """Checks where the correct content keywords lie.

    A keyword is correct when its nearest sub-word is in the caption; it names those spoken words of
    which it is a sub-word. A content keyword is one that is no stop word.
    """
    centres = overlaps = total = used = 0
    for utterance in utterances:
        spoken = words.get(utterance.utterance)
        if not spoken:
            continue
        used += 1
        words_of = _words_by_token(utterance, texts)
        for keyword in utterance.keywords:
            named = words_of.get(keyword.token_id)
            if named is None or keyword.start is None or not is_content(keyword.token):
                continue
            places = [word for word in spoken if named.intersection(split_words(word.text))]
            if not places:
                continue
            total += 1
            centre = (keyword.start + keyword.end) / 2
            centres += any(word.start <= centre <= word.end for word in places)
            overlaps += any(
                keyword.start < word.end and word.start < keyword.end for word in places
            )
    if not total:
        return LocalizationScores(float("nan"), float("nan"), 0, used)
    return LocalizationScores(centres / total, overlaps / total, total, used)


def _segments(keywords: Sequence[Keyword]) -> list[tuple[float, float]]:
    return [
        (word.start, word.end)
        for word in keywords
        if word.start is not None and word.end is not None
    ]


def _words_by_token(utterance: UtteranceKeywords, texts: Mapping[int, str]) -> dict[int, set[str]]:
    ids = [i for i in utterance.caption_ids if i not in SPECIAL_IDS]
    found: dict[int, set[str]] = {}
    for word, positions in merge_words(texts_of(ids, texts, utterance.utterance)):
        for position in positions:
            found.setdefault(ids[position], set()).add(word)
    return found
