"""Words in speech with their times, and how keywords become words.

Doubtful keywords are dropped first, then the pieces of a word are joined. Python, the demo page, an
index and stage 9's scores follow these two rules in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from espnet_plugin.data.keyword_file import Keyword

END_OF_WORD = "</w>"  # ends the text of a sub-word that ends a word


@dataclass(frozen=True)
class SpokenWord:
    """A word in speech: a model found it, or an alignment says where it is.

    Attributes:
        word: The word as people write it.
        score: Cosine similarity of the speech segment and the sub-word in CLIP's table, at most 1.
            Of joined sub-words it is the mean. None if no model found the word.
        start: Second at which it starts, or None if the keywords have no times (``cls``).
        end: Second at which it ends, or None if the keywords have no times.
    """

    word: str
    score: float | None = None
    start: float | None = None
    end: float | None = None

    def __str__(self) -> str:
        when = "" if self.start is None else f"{self.start:.2f}-{self.end:.2f} s  "
        return f"{when}{self.word}" + ("" if self.score is None else f"  ({self.score:.2f})")

    @property
    def span(self) -> tuple[float, float]:
        """Its start and end in seconds.

        Raises:
            ValueError: If it has no times.
        """
        if self.start is None or self.end is None:
            raise ValueError(
                "the keywords of this architecture (cls) have no times, so no place can be shown; "
                "write a table (speechclip keywords --output words.tsv), or use a model with cif"
            )
        return self.start, self.end


Scored = TypeVar("Scored", Keyword, SpokenWord)


def without_doubtful(found: Iterable[Scored], min_score: float) -> tuple[Scored, ...]:
    """The keywords or words whose score is at least ``min_score``, or unknown."""
    return tuple(each for each in found if each.score is None or each.score >= min_score)


def joined(keywords: Sequence[Keyword]) -> list[tuple[Keyword, ...]]:
    """The keywords of each word: pieces that meet in time, up to one that ends a word.

    Two neighbours meet if the second starts no later than the first ends. CIF's segments overlap
    by the frame that completes the first one. Span alignment divides all frames among the
    keywords, pauses too, so its spans touch. What lies between two spans is then a dropped
    keyword, or a blank segment whose spans were not aligned. Keywords without times (``cls``) meet
    none: their order is not that of the speech.
    """
    words: list[tuple[Keyword, ...]] = []
    for keyword in keywords:
        if words and _continues(words[-1][-1], keyword):
            words[-1] += (keyword,)
        else:
            words.append((keyword,))
    return words


def words_of(
    keywords: Iterable[Keyword],
    text_of: Callable[[Sequence[int]], str],
    *,
    min_score: float = -1.0,
) -> list[SpokenWord]:
    """Joins keywords to words; those with a lower score than ``min_score`` are left out first.

    Args:
        keywords: Keywords of an utterance, which have scores.
        text_of: Function that gives the text of token ids.
        min_score: Lowest score of a keyword that is kept.
    """
    return [
        SpokenWord(
            word=text_of([piece.token_id for piece in pieces]),
            score=float(np.mean([piece.score for piece in pieces])),
            start=_rounded(pieces[0].start),
            end=_rounded(pieces[-1].end),
        )
        for pieces in joined(without_doubtful(keywords, min_score))
    ]


def later(words: Sequence[SpokenWord], *, seconds: float) -> list[SpokenWord]:
    """Words of a part of a recording, with their times in the whole.

    Args:
        words: Words with their times in the part.
        seconds: Start of the part in the whole, in seconds.
    """
    return [
        replace(word, start=_rounded(word.start + seconds), end=_rounded(word.end + seconds))
        if word.start is not None and word.end is not None
        else word
        for word in words
    ]


def _continues(piece: Keyword, following: Keyword) -> bool:
    if piece.token.endswith(END_OF_WORD) or piece.end is None or following.start is None:
        return False
    return following.start <= piece.end


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
