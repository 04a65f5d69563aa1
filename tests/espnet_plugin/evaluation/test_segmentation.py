from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_plugin.data.keyword_file import Keyword, UtteranceKeywords
from espnet_plugin.data.words import SpokenWord
from espnet_plugin.evaluation.segmentation import (
    SegmentationScores,
    count_boundaries,
    count_matches,
    f_values,
    inner_boundaries,
    r_value,
    score_segmentation,
)

TEXTS = {1: "a</w>", 2: "dog</w>", 3: "run", 4: "s</w>"}
SAID = [("A", 0.0, 0.2), ("dog", 0.2, 0.6), ("runs,", 0.6, 1.0)]
WORDS = {"u": [SpokenWord(word, start=start, end=end) for word, start, end in SAID]}


def spoken(*keywords: Keyword) -> UtteranceKeywords:
    return UtteranceKeywords("u", "a dog runs", (1, 2, 3, 4), keywords, seconds=1.0)


def keyword(token_id: int, start: float, end: float) -> Keyword:
    return Keyword(token_id, TEXTS[token_id], (token_id,), start, end)


def score_boundaries(utterances, words) -> SegmentationScores:
    return score_segmentation(count_boundaries(utterances, words, 0.05), 0.05)


def test_r_value_of_known_points():
    assert r_value(1.0, 0.0) == pytest.approx(1.0)
    # H = 0.5, O = 0: r1 = 0.5, r2 = −0.5/√2
    assert r_value(0.5, 0.0) == pytest.approx(1 - (0.5 + 0.5 / math.sqrt(2)) / 2)
    # Everything found, twice as many boundaries: O = 1, r1 = 1, r2 = −1/√2
    assert r_value(1.0, 1.0) == pytest.approx(1 - (1 + 1 / math.sqrt(2)) / 2)


def test_r_value_is_defined_where_nothing_matches():
    ten = [SpokenWord(f"w{n}", None, n * 0.4, (n + 1) * 0.4) for n in range(11)]
    shifted = [keyword(2, n * 0.4 + 0.2, (n + 1) * 0.4 + 0.2) for n in range(11)]
    scores = score_boundaries([spoken(*shifted)], {"u": ten})
    assert (scores.predicted, scores.reference, scores.recall) == (10, 10, 0.0)
    assert scores.over_segmentation == 0.0
    assert scores.r_value == pytest.approx(1 - (1 + 1 / math.sqrt(2)) / 2)  # 0.146
    # No boundary at all: H = 0, O = −1, r1 = √2, r2 = 0
    silent = score_boundaries([spoken(keyword(2, 0.0, 1.0))], {"u": ten})
    assert silent.predicted == 0
    assert silent.r_value == pytest.approx(1 - math.sqrt(2) / 2)
    one_word = score_boundaries([spoken(*shifted)], {"u": ten[:1]})
    assert math.isnan(one_word.over_segmentation) and math.isnan(one_word.r_value)


def test_inner_boundaries():
    assert inner_boundaries([(0.0, 0.2), (0.2, 0.5), (0.6, 1.0)]) == [0.2, 0.5, 0.6]
    assert inner_boundaries([(0.3, 0.9)]) == []


@settings(max_examples=60, deadline=None)
@given(
    first=st.lists(st.integers(0, 12), max_size=5),
    second=st.lists(st.integers(0, 12), max_size=5),
    tolerance=st.integers(0, 3),
)
def test_matching_is_as_large_as_possible(first, second, tolerance):
    small, large = sorted((first, second), key=len)
    best = max(
        (
            sum(abs(a - b) <= tolerance for a, b in zip(small, order, strict=False))
            for order in itertools.permutations(large, len(small))
        ),
        default=0,
    )
    assert count_matches(sorted(first), sorted(second), tolerance) == best


def test_boundaries_by_hand():
    ours = spoken(keyword(2, 0.0, 0.22), keyword(2, 0.22, 0.4), keyword(3, 0.4, 0.7))
    scores = score_boundaries([ours], WORDS)
    assert (scores.predicted, scores.reference) == (2, 2)  # 0.22, 0.4 against 0.2, 0.6
    assert scores.precision == scores.recall == scores.f_score == 0.5
    assert scores.over_segmentation == 0.0
    assert scores.r_value == pytest.approx(r_value(0.5, 0.0))
    with pytest.raises(ValueError, match="no utterance has both"):
        score_boundaries([ours], {})


def test_a_match_is_within_the_tolerance():
    """0.19, 0.6 and 0.8 against the boundaries 0.2 and 0.6."""
    ours = spoken(
        keyword(1, 0.01, 0.19), keyword(2, 0.19, 0.6), keyword(3, 0.6, 0.8), keyword(4, 0.8, 1.02)
    )
    narrow, wide = (count_boundaries([ours], WORDS, within) for within in (0.005, 0.02))
    assert (narrow.tolist(), wide.tolist()) == ([[1, 3, 2]], [[2, 3, 2]])
    assert count_matches([1.0, 1.03], [1.03], 0.02) == 1  # the first is early, but not by much
    found = score_segmentation(wide, 0.02)
    assert (found.f_score, found.over_segmentation) == (pytest.approx(4 / 5), 0.5)


def test_boundaries_of_each_utterance():
    found = spoken(keyword(1, 0.0, 0.22), keyword(2, 0.22, 0.5), keyword(3, 0.5, 1.0))
    lost = replace(found, utterance="w", keywords=(keyword(1, 0.0, 0.4), keyword(2, 0.4, 1.0)))
    silent = UtteranceKeywords("v", "a dog", (1, 2), (), seconds=1.0)
    words = WORDS | {"v": WORDS["u"], "w": WORDS["u"]}
    # 0.22 finds 0.2, 0.5 and 0.4 find nothing: 2 · 1 / (2 + 2 + 1 + 2), 3.5 boundaries on average
    values = f_values(count_boundaries([found, silent, lost], words, 0.05))
    pooled = 2 / 7
    expected = [pooled + (2 - 4 * pooled) / 3.5, math.nan, pooled + (0 - 3 * pooled) / 3.5]
    assert values == pytest.approx(expected, nan_ok=True)
    scores = score_boundaries([found, silent, lost], words)
    assert np.nanmean(values) == pytest.approx(scores.f_score) == pytest.approx(pooled)
    assert np.isnan(f_values(count_boundaries([silent], words, 0.05))).all()
