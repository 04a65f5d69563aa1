r"""Detection of given words in utterances, and whether their places are right.

A word is given in writing, and every utterance of a set gets a score. The measures are those of
keyword spotting and localisation by visual grounding: YFACC (arXiv 2210.04600) and arXiv
2302.00765. A place is right if it lies within the time of what means the word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espnet_plugin.data.keyword_file import Keyword, UtteranceKeywords
from espnet_plugin.data.words import END_OF_WORD, SpokenWord
from espnet_plugin.evaluation.token_texts import is_content, split_words, word_of

Array = np.ndarray
FIRST = 10  # utterances that precision at 10 looks at
FEWEST = 10  # utterances in which a given word must occur
NOT_FOUND = -2.0  # below every cosine


@dataclass(frozen=True)
class GivenWords:
    """Words that are asked for: content words of the captions that are one sub-word.

    Attributes:
        ids: Token id of each word.
        present: Whether an utterance's caption has the word, (words, utterances).
    """

    ids: Mapping[str, int]
    present: Array


@dataclass(frozen=True)
class Answers:
    """Answers for each given word and utterance.

    Attributes:
        scores: Scores, (words, utterances); ``NOT_FOUND`` without an answer.
        places: Second at which the word is said to be, (words, utterances); NaN if unknown.
        named: Whether the word is one of the utterance's keywords, (words, utterances).
    """

    scores: Array
    places: Array
    named: Array

    def of(self, chosen: Array) -> Answers:
        """The answers for some utterances, which are true in ``chosen``, (utterances,)."""
        return Answers(self.scores[:, chosen], self.places[:, chosen], self.named[:, chosen])


@dataclass(frozen=True)
class DetectionScores:
    """Rates from 0 to 1.

    Attributes:
        words: Number of given words.
        precision_at_10: Share of the first ten utterances that have the word, a mean over words.
        located_precision: Share of all words that are named, whose place is right: precision of
            "actual keyword localisation" in YFACC. NaN without alignments or times.
    """

    words: int
    precision_at_10: float
    located_precision: float


def given_words(utterances: Sequence[UtteranceKeywords], texts: Mapping[int, str]) -> GivenWords:
    """Every content word of the captions that is one sub-word, in the order of the alphabet."""
    said = [_whole_words(utterance.caption_ids or (), texts) for utterance in utterances]
    ids = dict(sorted({word: i for found in said for word, i in found.items()}.items()))
    present = np.array([[word in found for found in said] for word in ids], dtype=bool)
    return GivenWords(ids, present.reshape(len(ids), len(utterances)))


def _whole_words(caption_ids: Sequence[int], texts: Mapping[int, str]) -> dict[str, int]:
    """Words of a caption that are one sub-word, with its id; "dog" in "bulldog" does not count."""
    found, begins = {}, True
    for token_id in caption_ids:
        text = texts[token_id]
        if begins and text.endswith(END_OF_WORD) and is_content(text):
            found[word_of([text])] = token_id
        begins = text.endswith(END_OF_WORD)
    return found


def answers_to_text(
    utterances: Sequence[UtteranceKeywords], ids: Sequence[int], *, min_score: float = -1.0
) -> Answers:
    """Looks for each word's sub-word among those nearest to an utterance's keywords.

    The score is the highest cosine of a keyword and the sub-word, its place that keyword's centre.

    Args:
        utterances: Utterances with their keywords.
        ids: Token id of each given word.
        min_score: Lowest score of a keyword that is named.
    """
    row_of = {token_id: row for row, token_id in enumerate(ids)}
    scores = np.full((len(ids), len(utterances)), NOT_FOUND)
    places = np.full_like(scores, np.nan)
    named = np.zeros_like(scores, dtype=bool)
    for column, utterance in enumerate(utterances):
        for keyword in utterance.keywords:
            nearest = zip(keyword.top, keyword.top_scores or (keyword.score,), strict=False)
            for token_id, score in nearest:
                row = row_of.get(token_id)
                if row is not None and score is not None and score > scores[row, column]:
                    scores[row, column], places[row, column] = score, _centre(keyword)
            row = row_of.get(keyword.token_id)
            if row is not None and (keyword.score is None or keyword.score >= min_score):
                named[row, column] = True
    return Answers(scores, places, named)


def right_places(
    words: Iterable[str],
    utterances: Sequence[str],
    places: Array,
    english: Mapping[str, Sequence[SpokenWord]],
) -> Array:
    """Whether each place lies within the time of what means the word, (words, utterances).

    Args:
        words: The given words.
        utterances: Ids of the utterances.
        places: Second at which the word is said to be, (words, utterances).
        english: English words with their times, by utterance.
    """
    right = np.zeros_like(places, dtype=bool)
    row_of = {word: row for row, word in enumerate(words)}
    for column, utterance in enumerate(utterances):
        for spoken in english.get(utterance, ()):
            start, end = spoken.span
            for word in split_words(spoken.word):
                if (row := row_of.get(word)) is not None:
                    right[row, column] |= start <= places[row, column] <= end
    return right


def score_detection(
    answers: Answers, present: Array, right: Array, aligned: Array
) -> DetectionScores | None:
    """Scores the words that enough utterances have and not all, or gives None without such words.

    Args:
        answers: Answers for all given words.
        present: Whether an utterance's caption has the word, (words, utterances).
        right: Whether places are right, by :func:`right_places`.
        aligned: Utterances with an alignment, (utterances,); places in the others do not count.
    """
    number = present.sum(axis=1)
    kept = (number >= FEWEST) & (number < present.shape[1])
    if not kept.any():
        return None
    hits = [
        among_first(scores) @ true / FIRST
        for scores, true in zip(answers.scores[kept], present[kept], strict=True)
    ]
    located = right[kept][(answers.named & ~np.isnan(answers.places) & aligned)[kept]]
    return DetectionScores(
        words=len(hits),
        precision_at_10=float(np.mean(hits)),
        located_precision=float(located.mean()) if located.size else np.nan,
    )


def among_first(scores: Array) -> Array:
    """The chance of each item to be among the first ten that are found, if equal scores come in a
    random order.

    Args:
        scores: Scores of the items, (items,); ``NOT_FOUND`` marks an item that is not found.
    """
    found = scores > NOT_FOUND
    if found.sum() <= FIRST:
        return found.astype(float)
    last = np.partition(scores, -FIRST)[-FIRST]
    above, tied = scores > last, scores == last
    return above + tied * (FIRST - above.sum()) / tied.sum()


def _centre(keyword: Keyword) -> float:
    if keyword.start is None or keyword.end is None:
        return np.nan
    return (keyword.start + keyword.end) / 2
