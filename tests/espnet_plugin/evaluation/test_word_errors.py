from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_plugin.evaluation.word_errors import word_error_rate, word_errors

WORDS = st.lists(st.sampled_from("abc"), max_size=6)


def slow_distance(first: list, second: list) -> int:
    if not first or not second:
        return len(first) + len(second)
    return min(
        slow_distance(first[1:], second) + 1,
        slow_distance(first, second[1:]) + 1,
        slow_distance(first[1:], second[1:]) + (first[0] != second[0]),
    )


@settings(max_examples=60, deadline=None)
@given(first=WORDS, second=WORDS)
def test_distance_equals_the_recursive_definition(first, second):
    assert word_errors(first, second) == slow_distance(first, second)


def test_rate_is_pooled_over_utterances():
    references = {"a": "A red dog.", "b": "a cat"}
    assert word_error_rate(references, {"a": "a red dog", "b": "cat"}) == pytest.approx(1 / 5)
    assert word_error_rate(references, {"a": "a red dog"}) == pytest.approx(2 / 5)
    with pytest.raises(ValueError, match="no word"):
        word_error_rate({"a": ""}, {})
