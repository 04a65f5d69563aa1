"""Detection of given words, and their places, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_plugin.data.alignments import Word
from espnet_plugin.data.keyword_file import Keyword, UtteranceKeywords
from espnet_plugin.evaluation.detection import (
    FIRST,
    NOT_FOUND,
    Answers,
    among_first,
    answers_to_images,
    answers_to_text,
    equal_error_rate,
    given_words,
    image_queries,
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
    answers = answers_to_text(spoken, [3, 2], min_score=0.35)
    assert answers.scores.tolist() == [[0.45, NOT_FOUND], [0.5, 0.5]]
    assert answers.places[0, 0] == 1.5 and math.isnan(answers.places[0, 1])
    assert answers.named.tolist() == [[False, False], [True, True]]  # dog at 0.3 is left out
    assert answers_to_text(spoken, [3]).named.tolist() == [[True, False]]


def test_images_ask_by_what_they_have_in_common():
    # images along two axes beside a common part; those of "dog" lie along the first
    images = {f"i{n}": np.array([float(n < 6), float(n >= 6), 3.0]) for n in range(12)}
    spoken = [
        utterance(f"u{n}", [3 if n < 6 else 5], (0.0, {5: 1.0}), (1.0, {3 if n < 6 else 2: 1.0}))
        for n in range(12)
    ]
    present = np.array([[n < 6 for n in range(12)]])
    queries, searched = image_queries(present, list(images), images)
    assert queries[0] == pytest.approx([math.sqrt(0.5), -math.sqrt(0.5), 0.0])
    assert searched[0].tolist() == [False] * 5 + [True] * 7  # not those of the five images
    texts = {2: [0.0, 0.0, -9.0], 3: [2.0, 0.0, -9.0], 5: [-2.0, 0.0, -9.0]}
    subwords = {token_id: np.array(row) for token_id, row in texts.items()}
    answers = answers_to_images(spoken, subwords, queries, searched)
    assert np.isnan(answers.scores[0, :5]).all()
    assert answers.scores[0, 5:].tolist() == pytest.approx([math.sqrt(0.5)] + [0.0] * 6)
    assert answers.places[0].tolist() == [1.5] * 12


def test_every_measure_by_hand():
    """Twelve utterances have the word, eight have not; four of those with it are never found."""
    present = np.array([[True] * 12 + [False] * 8])
    scores = np.full((1, 20), NOT_FOUND)
    scores[0, :8] = np.arange(0.9, 0.1, -0.1)  # 0.9 … 0.2
    scores[0, 12:15] = (0.85, 0.35, 0.15)  # second, eighth and last of those that are found
    named = scores >= 0.3
    right = np.zeros_like(named)
    right[0, [0, 1, 2, 7, 12]] = True  # the last of these is in no caption: an aligned synonym
    answers = Answers(scores, np.zeros_like(scores), named)
    found = score_detection(answers, present, right, np.array([True] * 19 + [False]))
    assert found.words == 1
    assert found.precision_at_10 == pytest.approx(8 / 10)
    assert found.located_at_10 == pytest.approx(5 / 10)
    hits = [1 / 1, 2 / 3, 3 / 4, 4 / 5, 5 / 6, 6 / 7, 7 / 9, 8 / 10]
    # the four that are not found come together with the five others
    assert found.average_precision == pytest.approx((sum(hits) + 4 * 12 / 20) / 12)
    # four of twelve are missed while two (0.25) to three (0.375) of eight are accepted
    assert found.equal_error_rate == pytest.approx(4 / 12)
    assert found.oracle_location == pytest.approx(4 / 12)
    assert found.located_precision == pytest.approx(4 / 9)
    assert found.located_recall == pytest.approx(3 / 12)
    bare = score_detection(Answers(scores, np.full_like(scores, np.nan)), present)
    assert bare.precision_at_10 == found.precision_at_10 and math.isnan(bare.located_at_10)
    assert score_detection(answers, present & (np.arange(20) < 9)) is None  # too few have it
    assert score_detection(answers, np.ones_like(present)) is None  # all have it


def test_what_is_not_found_is_no_hit_however_it_is_ordered():
    scores = np.full((1, 20), NOT_FOUND)
    scores[0, 19] = 0.5
    found = score_detection(Answers(scores, scores), np.array([[True] * 12 + [False] * 8]))
    assert found.precision_at_10 == 0.0


def test_a_place_on_any_of_a_words_spans_is_right():
    english = {"u": [Word("Dog's", 0.0, 0.4), Word("dog", 2.0, 2.4), Word("red", 1.0, 1.2)]}
    places = np.array([[0.4, 1.0], [1.1, 1.1], [np.nan, 1.0]])
    right = right_places(["dog", "red", "cat"], ["u", "v"], places, english)
    assert right.tolist() == [[True, False], [True, False], [False, False]]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=12).filter(
        lambda items: 0 < sum(true for true, _ in items) < len(items)
    )
)
def test_the_equal_error_rate_lies_between_those_of_neighbouring_thresholds(items):
    true = np.array([a for a, _ in items])
    scores = np.array([b for _, b in items], dtype=float)
    rate = equal_error_rate(true, scores)
    points = [((scores >= t)[~true].mean(), (scores < t)[true].mean()) for t in (-1.0, *range(7))]
    below = max((accepted for accepted, missed in points if accepted <= missed), default=0.0)
    above = min(max(point) for point in points)
    assert below - 1e-9 <= rate <= above + 1e-9


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
