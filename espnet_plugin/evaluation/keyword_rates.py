"""Rates of how well keywords name what was said.

An utterance has keywords w_1..w_n, each the nearest sub-word. T_k(w_i) are the k nearest sub-words,
without special tokens; C is the set of the caption's sub-words.

- ``subword_hit@k``: share of the keywords with ``T_k(w_i) ∩ C ≠ ∅``
- ``word_hit@1``: the same for words, which :func:`espnet_plugin.data.words.joined` makes of the
  keywords; they are looked up among the caption's words, ignoring case
- ``word_hit@5``: a word also counts if it is one sub-word and one of its 5 nearest sub-words is a
  whole word of the caption
- ``content_word_hit@1``: share of the keywords in C, without stop words
- ``content_word_recall``: share of C's members without stop words that some keyword names
- ``precision``: share of the distinct keywords that are in C; a repeated one counts once
- ``duplicate_rate``: 1 − distinct keywords / n
- ``content_words_exact``: 1 if the keywords without stop words are the caption's, each as often as
  it was said and in this order, else 0

A set's rate is the mean over the utterances whose denominator is not 0; the others are counted.
``mean_keywords`` and ``mean_subwords`` are means over all utterances.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import harmonic_mean

import numpy as np

from espnet_plugin.data.keyword_file import Keyword, UtteranceKeywords
from espnet_plugin.data.words import END_OF_WORD, joined, without_doubtful
from espnet_plugin.evaluation.token_texts import (
    SPECIAL_IDS,
    is_content,
    merge_words,
    texts_of,
    word_of,
)

HITS_AT = (1, 5)  # the k of hit@k
MIN_SCORES = tuple(n / 50 for n in range(50))  # that are tried
COUNTS = ("mean_keywords", "mean_subwords", "mean_count_difference")


def keyword_values(
    utterances: Sequence[UtteranceKeywords], texts: Mapping[int, str]
) -> dict[str, np.ndarray]:
    """Scores each utterance's keywords, as CLIP sub-words and as words.

    Args:
        utterances: Utterances with their keywords, as ``read_keywords`` returns them.
        texts: Text of every token id that occurs ("</w>" ends a word).

    Returns:
        The values of each measure, (utterances,), NaN where it does not apply.

    Raises:
        ValueError: If there is no utterance, or the text of a token is unknown.
    """
    if not utterances:
        raise ValueError("no utterance to score")
    rows = [_measures(utterance, texts) for utterance in utterances]
    return {name: np.array([row[name] for row in rows], dtype=float) for name in rows[0]}


def best_min_score(utterances: Sequence[UtteranceKeywords], texts: Mapping[int, str]) -> float:
    """The lowest cosine at which keywords are worth reporting.

    It is the one with the highest F, the harmonic mean of ``content_word_hit@1`` and
    ``content_word_recall``.

    Args:
        utterances: Utterances of a development set, with captions.
        texts: Text of every token id that occurs ("</w>" ends a word).

    Returns:
        The cosine, the lowest of several that are best; -1 if no keyword is a content word.
    """
    measures = ("content_word_hit@1", "content_word_recall")
    found = {-1.0: 0.0}
    for least in MIN_SCORES:
        values = keyword_values(keywords_above(least, utterances), texts)
        if any(np.isnan(values[name]).all() for name in measures):
            break  # nothing is left
        found[least] = harmonic_mean(float(np.nanmean(values[name])) for name in measures)
    return max(found, key=lambda least: found[least])


def keywords_above(
    least: float, utterances: Iterable[UtteranceKeywords]
) -> list[UtteranceKeywords]:
    """The utterances without the keywords that a model with this ``min_score`` leaves out."""
    return [replace(u, keywords=without_doubtful(u.keywords, least)) for u in utterances]


def _candidates(keyword: Keyword, k: int) -> list[int]:
    return [i for i in keyword.top if i not in SPECIAL_IDS][:k]


def _measures(utterance: UtteranceKeywords, texts: Mapping[int, str]) -> dict[str, float]:
    caption_ids = [i for i in utterance.caption_ids if i not in SPECIAL_IDS]
    caption_texts = texts_of(caption_ids, texts, utterance.utterance)
    keywords = [word for word in utterance.keywords if word.token_id not in SPECIAL_IDS]
    text_of = dict(zip(caption_ids, caption_texts, strict=True))
    text_of.update({word.token_id: word.token for word in keywords})
    gold = set(caption_ids)
    said = [word.token_id for word in keywords]
    distinct = set(said)
    content = {i for i, text in text_of.items() if is_content(text)}
    row = {
        "content_word_hit@1": _share(i in gold for i in said if i in content),
        "content_word_recall": _share(i in distinct for i in gold & content),
        "precision": _share(i in gold for i in distinct),
        "content_words_exact": float(
            [i for i in said if i in content] == [i for i in caption_ids if i in content]
        ),
        "duplicate_rate": 1 - len(distinct) / len(said) if said else float("nan"),
    }
    number, expected = len(said), len(caption_ids)
    row.update(zip(COUNTS, (number, expected, abs(number - expected)), strict=True))
    caption_words = {word for word, _ in merge_words(caption_texts)}
    words = [(word_of(piece.token for piece in pieces), pieces) for pieces in joined(keywords)]
    for k in HITS_AT:
        row[f"subword_hit@{k}"] = _share(
            not gold.isdisjoint(_candidates(word, k)) for word in keywords
        )
        row[f"word_hit@{k}"] = _share(
            word in caption_words
            or (
                len(pieces) == 1
                and not caption_words.isdisjoint(
                    word_of([texts[i]])
                    for i in _candidates(pieces[0], k)
                    if texts.get(i, "").endswith(END_OF_WORD)
                )
            )
            for word, pieces in words
            if word
        )
    return row


def _share(hits: Iterable[bool]) -> float:
    hits = list(hits)
    return sum(hits) / len(hits) if hits else float("nan")
