"""How well keywords name what was said.

For an utterance with keywords w_1..w_n (nearest sub-words), candidate sets T_k(w_i) (the k nearest
sub-words, special tokens apart) and the set C of the caption's sub-words:

======================= ==========================================================================
``subword_hit@k``       share of the keywords with ``T_k(w_i) ∩ C ≠ ∅``
``word_hit@1``          the same over words: consecutive sub-words are merged into words, which are
                        looked up among the caption's words, case-folded
``word_hit@5``          a word also counts when it is one sub-word and one of its 5 nearest
                        sub-words is a whole word of the caption
``content_word_hit@1``  share of the keywords in C, of those that are no stop word
``content_word_recall`` share of C's members without stop words that some keyword names
``precision``           share of the distinct keywords that are in C: a repeated one counts once
``duplicate_rate``      1 − distinct keywords / n
======================= ==========================================================================

Each rate is the mean over the utterances for which its denominator is not 0; the others are
counted. ``mean_keywords`` and ``mean_subwords`` are means over all utterances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espnet_plugin.data.keyword_file import Keyword, UtteranceKeywords
from espnet_plugin.evaluation.token_texts import (
    END_OF_WORD,
    SPECIAL_IDS,
    is_content,
    merge_words,
    texts_of,
)

HITS_AT = (1, 5)  # the k of hit@k
COUNTS = ("mean_keywords", "mean_subwords", "mean_count_difference")


@dataclass(frozen=True)
class KeywordScores:
    """Keyword measures of a data set.

    Attributes:
        means: Measure → mean over the utterances to which it applies (NaN if there is none).
        left_out: Measure → number of utterances to which it does not apply.
        values: Measure → (utterances,) values, NaN where it does not apply.
        utterances: Utterance ids, in the order of the values.
    """

    means: dict[str, float]
    left_out: dict[str, int]
    values: dict[str, np.ndarray]
    utterances: tuple[str, ...]


def score_keywords(
    utterances: Sequence[UtteranceKeywords], texts: Mapping[int, str]
) -> KeywordScores:
    """Scores keywords as CLIP sub-words and as words.

    Args:
        utterances: What ``read_keywords`` returns.
        texts: Text of every token id that occurs ("</w>" ends a word).

    Raises:
        ValueError: No utterance, or a token whose text is unknown.
    """
    rows = [_clip_measures(utterance, texts) for utterance in utterances]
    return _collect(rows, utterances)


def _candidates(keyword: Keyword, k: int) -> list[int]:
    return [i for i in keyword.top if i not in SPECIAL_IDS][:k]


def _clip_measures(utterance: UtteranceKeywords, texts: Mapping[int, str]) -> dict[str, float]:
    caption_ids = [i for i in utterance.caption_ids if i not in SPECIAL_IDS]
    caption_texts = texts_of(caption_ids, texts, utterance.utterance)
    keywords = [word for word in utterance.keywords if word.token_id not in SPECIAL_IDS]
    text_of = dict(zip(caption_ids, caption_texts, strict=True))
    text_of.update({word.token_id: word.token for word in keywords})
    gold = set(caption_ids)
    row = _set_measures(
        [word.token_id for word in keywords], caption_ids, lambda i: is_content(text_of[i])
    )
    row.update(_lengths(len(utterance.keywords), len(caption_ids)))
    caption_words = {word for word, _ in merge_words(caption_texts)}
    merged = merge_words(word.token for word in keywords)
    for k in HITS_AT:
        row[f"subword_hit@{k}"] = _share(
            not gold.isdisjoint(_candidates(word, k)) for word in keywords
        )
        row[f"word_hit@{k}"] = _share(
            word in caption_words
            or (
                len(where) == 1
                and not caption_words.isdisjoint(
                    texts[i].removesuffix(END_OF_WORD).casefold()
                    for i in _candidates(keywords[where[0]], k)
                    if texts.get(i, "").endswith(END_OF_WORD)
                )
            )
            for word, where in merged
        )
    return row


def _set_measures(said: Sequence, caption: Sequence, content: Callable) -> dict[str, float]:
    gold, distinct = set(caption), set(said)
    content_gold = {unit for unit in gold if content(unit)}
    return {
        "content_word_hit@1": _share(unit in gold for unit in said if content(unit)),
        "content_word_recall": _share(unit in distinct for unit in content_gold),
        "precision": _share(unit in gold for unit in distinct),
        "duplicate_rate": 1 - len(distinct) / len(said) if said else float("nan"),
    }


def _lengths(said: int, caption: int) -> dict[str, float]:
    return dict(zip(COUNTS, (said, caption, abs(said - caption)), strict=True))


def _share(hits: Iterable[bool]) -> float:
    hits = list(hits)
    return sum(hits) / len(hits) if hits else float("nan")


def _collect(
    rows: Sequence[Mapping[str, float]], utterances: Sequence[UtteranceKeywords]
) -> KeywordScores:
    if not rows:
        raise ValueError("no utterance to score")
    values = {name: np.array([row[name] for row in rows], dtype=float) for name in rows[0]}
    left_out = {name: int(np.isnan(column).sum()) for name, column in values.items()}
    means = {
        name: float(np.nanmean(column)) if left_out[name] < len(column) else float("nan")
        for name, column in values.items()
    }
    return KeywordScores(means, left_out, values, tuple(u.utterance for u in utterances))
