from __future__ import annotations

import pytest

from espnet_plugin.data.english import is_stop_word
from espnet_plugin.evaluation.token_texts import (
    is_content,
    merge_words,
    split_words,
    texts_of,
)


def test_merges_sub_words_into_words():
    pieces = ["A</w>", "skate", "board", "ing</w>", ",</w>", "dog</w>", "'s</w>", "bo"]
    assert merge_words(pieces) == [
        ("a", (0,)),
        ("skateboarding", (1, 2, 3)),
        ("dog", (5,)),
        ("'s", (6,)),
        ("bo", (7,)),
    ]
    assert merge_words(["cafÃ©</w>"]) == [("café", (0,))]  # bytes as letters
    assert merge_words([]) == []


def test_splits_text_as_the_tokenizer_does():
    assert split_words("The dog's 12 bones, see?") == ["the", "dog", "'s", "1", "2", "bones", "see"]


def test_content():
    assert is_content("dog</w>")
    assert is_content("a")  # the beginning of some word
    assert not is_content("a</w>")
    assert not is_content(".</w>")
    assert not is_content("'s</w>")
    assert is_stop_word("The") and not is_stop_word("red") and is_stop_word("--")


def test_an_id_without_a_text_is_named():
    with pytest.raises(ValueError, match="u1: token id 9 is none of CLIP's"):
        texts_of([9], {}, "u1")
