r"""Detection of given words in utterances, and whether their places are right.

A word is given in writing, or by images that show it, and every utterance of a set gets a score.
The measures are those of keyword localisation by visual grounding: YFACC (arXiv 2210.04600) and
arXiv 2302.00765. A place is right if it lies within the time of what means the word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espnet_plugin.data.alignments import Word
from espnet_plugin.data.keyword_file import Keyword, UtteranceKeywords
from espnet_plugin.data.words import END_OF_WORD
from espnet_plugin.evaluation.token_texts import is_content, split_words, word_of

Array = np.ndarray
FIRST = 10  # utterances that precision at 10 looks at
FEWEST = 10  # utterances in which a given word must occur
IMAGES = 5  # that show a given word
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
        scores: Scores, (words, utterances): ``NOT_FOUND`` without an answer, NaN without a search.
        places: Second at which the word is said to be, (words, utterances); NaN if unknown.
        named: Whether the word is one of the utterance's keywords, (words, utterances), or None if
            that is not asked.
    """

    scores: Array
    places: Array
    named: Array | None = None

    def of(self, chosen: Array) -> Answers:
        """The answers for some utterances, which are true in ``chosen``, (utterances,)."""
        named = None if self.named is None else self.named[:, chosen]
        return Answers(self.scores[:, chosen], self.places[:, chosen], named)


@dataclass(frozen=True)
class DetectionScores:
    """Means over words, rates from 0 to 1; NaN where nothing is known.

    Attributes:
        words: Number of given words.
        precision_at_10: Share of the first ten utterances that have the word.
        equal_error_rate: Share of utterances with the word that are missed at the score at which
            the same share of the others is accepted.
        average_precision: Area under precision over recall.
        located_at_10: Share of the first ten utterances that have the word in the right place.
        oracle_location: Share of right places among all words and utterances that have them.
        located_precision: Share in the right place among all words that are named.
        located_recall: Share named in the right place among all words and utterances that have
            them.
    """

    words: int
    precision_at_10: float
    equal_error_rate: float
    average_precision: float
    located_at_10: float
    oracle_location: float
    located_precision: float
    located_recall: float


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


def answers_to_images(
    utterances: Sequence[UtteranceKeywords],
    subwords: Mapping[int, Array],
    queries: Array,
    searched: Array,
) -> Answers:
    """Compares images that show each word with the text of one sub-word, for each keyword.

    The score is the highest cosine of CLIP's embeddings of both, its place that keyword's centre.
    Embeddings of texts lie apart from those of images, so the mean of all sub-words is taken off.

    Args:
        utterances: Utterances with their keywords.
        subwords: CLIP's embedding of the text that is one sub-word, (E,), by token id.
        queries: Queries that :func:`image_queries` gave, (words, E).
        searched: Whether each utterance is searched, by the same function, (words, utterances).
    """
    row_of = {token_id: row for row, token_id in enumerate(subwords)}
    texts = np.stack(list(subwords.values()))  # (sub-words, E)
    embedded = _unit(texts - texts.mean(axis=0))
    cosines = embedded @ queries.T  # (sub-words, words)
    scores = np.full((len(queries), len(utterances)), NOT_FOUND)
    places = np.full_like(scores, np.nan)
    for column, utterance in enumerate(utterances):
        if keywords := [k for k in utterance.keywords if k.token_id in row_of]:
            found = cosines[[row_of[k.token_id] for k in keywords]]  # (keywords, words)
            scores[:, column] = found.max(axis=0)
            centres = np.array([_centre(keyword) for keyword in keywords])
            places[:, column] = centres[found.argmax(axis=0)]
    scores[~searched] = np.nan
    return Answers(scores, places)


def image_queries(
    present: Array, image_of: Sequence[str], embeddings: Mapping[str, Array]
) -> tuple[Array, Array]:
    """Finds what the first five images have in common whose captions have a word.

    Args:
        present: Whether an utterance's caption has the word, (words, utterances).
        image_of: Image of each utterance.
        embeddings: CLIP's embedding of each image, (E,).

    Returns:
        The mean of these images' embeddings less that of all images, of length 1, (words, E), and
        whether an utterance is searched, (words, utterances): not those about the same images.
    """
    center = np.mean(list(embeddings.values()), axis=0)
    images = np.array(image_of)
    queries = np.zeros((len(present), len(center)))
    searched = np.ones_like(present)
    for row, has_word in enumerate(present):
        shown = sorted(set(images[has_word].tolist()))[:IMAGES]
        queries[row] = np.mean([embeddings[image] for image in shown], axis=0) - center
        searched[row] = ~np.isin(images, shown)
    return _unit(queries), searched


def right_places(
    words: Iterable[str],
    utterances: Sequence[str],
    places: Array,
    english: Mapping[str, Sequence[Word]],
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
        for span in english.get(utterance, ()):
            for word in split_words(span.text):
                if (row := row_of.get(word)) is not None:
                    right[row, column] |= span.start <= places[row, column] <= span.end
    return right


def score_detection(
    answers: Answers, present: Array, right: Array | None = None, aligned: Array | None = None
) -> DetectionScores | None:
    """Scores the words that enough utterances have and not all, or gives None without such words.

    Args:
        answers: Answers for all given words.
        present: Whether an utterance's caption has the word, (words, utterances).
        right: Whether places are right, by :func:`right_places`, or None without alignments.
        aligned: Utterances with an alignment, (utterances,). The places in the others are unknown;
            ``located_at_10`` counts these as wrong, the other measures of places leave them out.
    """
    from sklearn.metrics import average_precision_score

    searched = ~np.isnan(answers.scores)
    number = (present & searched).sum(axis=1)
    kept = np.flatnonzero((number >= FEWEST) & (number < searched.sum(axis=1)))
    if not len(kept):
        return None
    columns = []
    for row in kept:
        asked = np.flatnonzero(searched[row])
        scores, true = answers.scores[row, asked], present[row, asked]
        first = among_first(scores)
        located = np.nan if right is None else first @ right[row, asked] / FIRST
        precision = average_precision_score(true, scores)
        columns.append((first @ true / FIRST, equal_error_rate(true, scores), precision, located))
    hits, errors, precision, located = np.mean(columns, axis=0).tolist()
    oracle = precise = recalled = np.nan
    if right is not None and aligned is not None:
        pairs = (present & searched & aligned)[kept]
        oracle = _share(right[kept][pairs])
        if answers.named is not None:
            precise = _share(right[kept][(answers.named & aligned)[kept]])
            recalled = _share((right & answers.named)[kept][pairs])
    return DetectionScores(
        words=len(kept),
        precision_at_10=hits,
        equal_error_rate=errors,
        average_precision=precision,
        located_at_10=located,
        oracle_location=oracle,
        located_precision=precise,
        located_recall=recalled,
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


def equal_error_rate(true: Array, scores: Array) -> float:
    """The rate of false acceptances where it equals that of misses.

    Between two thresholds both rates are interpolated, so equal scores count as in any order.

    Args:
        true: Whether each item should be accepted, (items,).
        scores: Higher ones are accepted first, (items,).
    """
    from scipy.optimize import brentq
    from sklearn.metrics import roc_curve

    accepted, hit, _ = roc_curve(true, scores, drop_intermediate=False)
    return float(brentq(lambda rate: 1 - np.interp(rate, accepted, hit) - rate, 0.0, 1.0))


def _centre(keyword: Keyword) -> float:
    if keyword.start is None or keyword.end is None:
        return np.nan
    return (keyword.start + keyword.end) / 2


def _share(values: Array) -> float:
    return float(values.mean()) if values.size else np.nan


def _unit(rows: Array) -> Array:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
