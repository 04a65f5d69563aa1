"""Which keywords are reported, and which of them are one word."""

from __future__ import annotations

import pytest

from espnet_plugin.data.keyword_file import Keyword
from espnet_plugin.data.words import joined, without_doubtful


def keyword(token: str, start: float | None, end: float | None, score: float = 0.5) -> Keyword:
    return Keyword(1, token, (1,), start, end, score=score)


def words(*keywords: Keyword, min_score: float = -1.0) -> list[str]:
    kept = without_doubtful(keywords, min_score)
    return ["".join(piece.token for piece in pieces) for pieces in joined(kept)]


UMB = keyword("umb", 2.0, 2.3, 0.1)
DOG = keyword("dog</w>", 5.0, 5.4, 0.55)


def test_pieces_far_apart_are_not_one_word() -> None:
    assert words(UMB, DOG) == ["umb", "dog</w>"]


def test_a_doubtful_piece_takes_no_sure_word_with_it() -> None:
    """The mean of both, 0.325, is below the limit."""
    assert words(UMB, DOG, min_score=0.55) == ["dog</w>"]


@pytest.mark.parametrize(
    ("start", "expected"),
    [(2.28, ["umbrella</w>"]), (2.3, ["umbrella</w>"]), (2.32, ["umb", "rella</w>"])],
    ids=["overlap", "touch", "gap"],
)
def test_pieces_that_overlap_or_touch_are_one_word(start: float, expected: list[str]) -> None:
    assert words(UMB, keyword("rella</w>", start, 2.5)) == expected


def test_a_dropped_piece_parts_its_neighbours() -> None:
    pieces = keyword("sky", 0, 1), keyword("scr", 1, 2, 0.1), keyword("aper</w>", 2, 3)
    assert words(*pieces) == ["skyscraper</w>"]
    assert words(*pieces, min_score=0.2) == ["sky", "aper</w>"]


def test_words_end_with_their_last_piece_and_at_the_end() -> None:
    dogs = keyword("dog</w>", 0, 1), keyword("dog</w>", 1, 2), keyword("s", 2, 3)
    assert words(*dogs) == ["dog</w>", "dog</w>", "s"] and words() == []


def test_keywords_without_times_are_not_joined() -> None:
    pieces = keyword("umb", None, None), keyword("rella</w>", None, None)
    assert words(*pieces) == ["umb", "rella</w>"]


def test_keywords_of_unknown_score_are_kept() -> None:
    unknown = Keyword(1, "dog</w>", (1,))
    assert without_doubtful([unknown, UMB], 0.5) == (unknown,)
