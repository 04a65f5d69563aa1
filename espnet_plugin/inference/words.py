"""Keywords as people write them: sub-words joined to words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from espnet_plugin.data.keyword_file import Keyword
from espnet_plugin.data.languages import is_english
from espnet_plugin.data.words import joined, without_doubtful

if TYPE_CHECKING:
    from espnet_plugin.teachers.clip import FrozenCLIP


@dataclass(frozen=True)
class SpokenWord:
    """A word that the model found in speech.

    Attributes:
        word: The word as people write it, joined by :func:`espnet_plugin.data.words.joined`.
        score: Cosine similarity of the speech segment and the sub-word in CLIP's table, at most 1.
            Of joined sub-words it is the mean.
        start: Second at which it starts, or None if the keywords have no times (``cls``).
        end: Second at which it ends, or None if the keywords have no times.
    """

    word: str
    score: float
    start: float | None
    end: float | None

    def __str__(self) -> str:
        when = "" if self.start is None else f"{self.start:.2f}-{self.end:.2f} s  "
        return f"{when}{self.word}  ({self.score:.2f})"


def words_of(
    keywords: Sequence[Keyword], clip: FrozenCLIP, *, min_score: float = -1.0
) -> list[SpokenWord]:
    """Joins keywords to words; those with a lower score than ``min_score`` are left out first."""
    return [
        SpokenWord(
            word=clip.text_of([piece.token_id for piece in pieces]),
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


def translation_note(languages: Collection[str]) -> str | None:
    """Says that the words for foreign speech are English, or gives None if a model knows of none.

    Args:
        languages: Languages of the model's training speech, as its corpus (``utt2lang``) has them.
    """
    if all(map(is_english, languages)):
        return None
    return (
        f"This model learned from speech in {', '.join(languages)}. For speech that is not "
        "English, its words are the nearest English sub-words: translations of a kind."
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
