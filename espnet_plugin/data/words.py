"""Make words of keywords: drop the doubtful ones, then join the pieces of a word.

Python, the page, an index and stage 9's scores follow these two rules in this order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from espnet_plugin.data.keyword_file import Keyword

END_OF_WORD = "</w>"  # ends the text of a sub-word that ends a word


def without_doubtful(keywords: Iterable[Keyword], min_score: float) -> tuple[Keyword, ...]:
    """The keywords whose score is at least ``min_score``, or unknown."""
    return tuple(k for k in keywords if k.score is None or k.score >= min_score)


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


def _continues(piece: Keyword, following: Keyword) -> bool:
    if piece.token.endswith(END_OF_WORD) or piece.end is None or following.start is None:
        return False
    return following.start <= piece.end
