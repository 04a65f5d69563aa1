"""Detection of given words, and their places, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_plugin.data.keyword_file import Keyword, UtteranceKeywords
from espnet_plugin.data.words import SpokenWord
from espnet_plugin.evaluation.detection import (
    FIRST,
    NOT_FOUND,
    Answers,
    among_first,
    answers_to_text,
    given_words,
    right_places,
    score_detection,
)

TEXTS = {1: "a</w>", 2: "red</w>", 3: "dog</w>", 4: "bull", 5: "cat</w>", 6: "!</w>"}


def utterance(name: str, caption: list[int], *heard: tuple[float, dict[int, float]]):
    """Keywords of one second each, from given starts, with the cosines of their sub-words."""
    keywords = tuple(
        Keyword(
            next(iter(top)), TEXTS[next(iter(top))], tuple(top), start, start + 1,
            next(iter(top.values())), tuple(top.values()),
        )
        for start, top in heard
    )  # fmt: skip
    return UtteranceKeywords(name, "", tuple(caption), keywords)


def test_given_words_are_whole_content_words_of_one_subword():
    found = given_words([utterance("u", [1, 2, 3, 6]), utterance("v", [4, 3, 5])], TEXTS)
    assert found.ids == {"cat": 5, "dog": 3, "red": 2}  # not the dog of "bulldog"
    assert found.present.tolist() == [[False, True], [True, False], [True, False]]


def test_a_word_is_where_a_keyword_is_most_like_it():
    spoken = [
        utterance("u", [3], (0.0, {2: 0.5, 3: 0.4}), (1.0, {5: 0.6, 3: 0.45}), (2.0, {3: 0.3})),
        utterance("v", [3], (0.0, {2: 0.5})),
    ]
    answers = answers_to_text(spoken, [3, 2], min_score=0.5)
    assert answers.scores.tolist() == [[0.45, NOT_FOUND], [0.5, 0.5]]
    assert answers.places[0, 0] == 1.5 and math.isnan(answers.places[0, 1])
    assert answers.named.tolist() == [[False, False], [True, True]]  # dog at 0.3 is left out
    assert answers_to_text(spoken, [3]).named.tolist() == [[True, False]]


def test_both_measures_by_hand():
    """Twelve utterances have the word, eight have not; four of those with it are never found."""
    present = np.array([[True] * 12 + [False] * 8])
    scores = np.full((1, 20), NOT_FOUND)
    scores[0, :8] = np.arange(0.9, 0.1, -0.1)  # 0.9 … 0.2
    scores[0, 12:15] = (0.85, 0.35, 0.15)  # second, eighth and last of those that are found
    named = scores >= 0.3
    right = np.zeros_like(named)
    right[0, [0, 1, 2, 7, 12]] = True  # the last of these is in no caption: an aligned synonym
    places = np.zeros_like(scores)
    answers, aligned = Answers(scores, places, named), np.array([True] * 19 + [False])
    found = score_detection(answers, present, right, aligned)
    assert found.words == 1
    assert found.precision_at_10 == pytest.approx(8 / 10)
    assert found.located_precision == pytest.approx(4 / 9)
    aligned[8:] = False  # seven of the nine are in utterances with an alignment
    assert score_detection(answers, present, right, aligned).located_precision == pytest.approx(
        3 / 7
    )
    nowhere = Answers(scores, np.full_like(scores, np.nan), named)
    bare = score_detection(nowhere, present, right & False, aligned)
    assert bare.precision_at_10 == found.precision_at_10 and math.isnan(bare.located_precision)
    nine, ten = (present & (np.arange(20) < number) for number in (9, 10))
    assert score_detection(answers, nine, right, aligned) is None  # few
    assert score_detection(answers, ten, right, aligned).words == 1
    assert score_detection(answers, np.ones_like(present), right, aligned) is None  # all have it


def test_what_is_not_found_is_no_hit_however_it_is_ordered():
    scores = np.full((1, 20), NOT_FOUND)
    scores[0, 19] = 0.5
    nothing = np.zeros((1, 20), dtype=bool)
    present = np.array([[True] * 12 + [False] * 8])
    found = score_detection(Answers(scores, scores, nothing), present, nothing, nothing[0])
    assert found.precision_at_10 == 0.0


def test_a_place_on_any_of_a_words_spans_is_right():
    said = [("Dog's", 0.0, 0.4), ("dog", 2.0, 2.4), ("red", 1.0, 1.2)]
    english = {"u": [SpokenWord(word, start=start, end=end) for word, start, end in said]}
    places = np.array([[0.4, 1.0], [1.1, 1.1], [np.nan, 1.0]])
    right = right_places(["dog", "red", "cat"], ["u", "v"], places, english)
    assert right.tolist() == [[True, False], [True, False], [False, False]]


@settings(max_examples=50)
@given(st.lists(st.sampled_from([NOT_FOUND, 0.1, 0.2, 0.3]), min_size=1, max_size=40))
def test_equal_scores_come_in_a_random_order(scores: list[float]) -> None:
    """The slow way: shuffle, sort, take the first ten, many times."""
    given_scores, rng = np.array(scores), np.random.default_rng(0)
    counts = np.zeros(len(scores))
    for _ in range(400):
        shuffled = rng.permutation(len(scores))
        first = shuffled[np.argsort(-given_scores[shuffled], kind="stable")][:FIRST]
        counts[first[given_scores[first] > NOT_FOUND]] += 1
    np.testing.assert_allclose(among_first(given_scores), counts / 400, atol=0.15)
