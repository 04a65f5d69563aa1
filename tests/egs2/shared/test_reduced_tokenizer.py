from __future__ import annotations

import open_clip
from local.shared.reduced_tokenizer import ReducedTokenizer


def test_words_of_several_sub_words_share_rows():
    """The computer and the computers share their first sub-word."""
    tokenizer = ReducedTokenizer(["red", "computer", "computers"])
    pieces = [open_clip.SimpleTokenizer().encode(word) for word in ("red", "computer", "computers")]
    assert [len(ids) for ids in pieces] == [1, 2, 2] and pieces[1][0] == pieces[2][0]
    assert tokenizer.full_ids[:-2] == [*pieces[0], *pieces[1], pieces[2][1]]
    assert tokenizer.encode([["computer", "computers"], ["red"]]) == [[2, 3, 2, 4], [1]]
