"""Scores of the ladder: recall at each step, and which content words the model names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from espnet_plugin.evaluation.inference_set import InferenceSet
from espnet_plugin.evaluation.ladder import CONTENT, KEYWORDS, LADDER, Ids, read_ladder
from espnet_plugin.evaluation.retrieval import rank_embeddings
from espnet_plugin.evaluation.scores.files import write_json
from espnet_plugin.evaluation.scores.keywords import load_token_texts
from espnet_plugin.evaluation.statistics import bootstrap_means
from espnet_plugin.evaluation.token_texts import END_OF_WORD

LADDER_SCORES = Path("scoring") / "ladder.json"
RECALL_AT = (1, 10)
PLACES = ("first", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th")
LATER, LAST = "later", "last"
FEWEST = 10  # occurrences from which a word is among the best or the worst
WORDS = 10  # of each


def score_ladder(data: InferenceSet, *, token_list: str | Path | None = None) -> dict:
    """Scores a set's ``ladder.npz`` and writes ``scoring/ladder.json``.

    Args:
        data: The set.
        token_list: tokens.tsv of the keyword vocabulary, if the tokenizer is not CLIP's own.

    Returns:
        ``steps.<step>`` with ``recall@k``, mean number of ``tokens``, ``content_word_recall`` and
        ``intervals``; ``positions`` and ``words``, see ``content_word_recalls``.

    Raises:
        FileNotFoundError: There is no ladder.
        ValueError: It is damaged, or of other keywords than the set's.
    """
    ids, embeddings = read_ladder(data.directory / LADDER)
    said = {u.utterance: tuple(k.token_id for k in u.keywords) for u in data.keywords}
    if ids[KEYWORDS] != [said.get(utterance) for utterance in data.utterances]:
        raise ValueError(
            f"{data.directory / LADDER} was made from other keywords than keywords.jsonl holds: "
            "run score_ladder again"
        )
    scores: dict = {"steps": {}}
    for step, speech in embeddings.items():
        ranks, _ = rank_embeddings(speech, data.image, data.image_of, data.images)
        columns = {f"recall@{k}": (ranks.rank <= k).astype(float) for k in RECALL_AT}
        pairs = zip(ids[CONTENT], ids[step], strict=True)
        columns["content_word_recall"] = np.array([_named(set(gold), read) for gold, read in pairs])
        intervals = bootstrap_means(
            np.stack(list(columns.values()), axis=1), data.units(data.image_of)
        )
        scores["steps"][step] = {
            **{name: float(np.nanmean(column)) for name, column in columns.items()},
            "tokens": float(np.mean([len(tokens) for tokens in ids[step]])),
            "intervals": dict(zip(columns, intervals, strict=True)),
        }
    scores |= content_word_recalls(ids[CONTENT], ids[KEYWORDS], load_token_texts(token_list))
    write_json(data.directory / LADDER_SCORES, scores)
    return scores


def content_word_recalls(
    content: Sequence[Ids], said: Sequence[Ids], texts: Mapping[int, str]
) -> dict:
    """Which of the captions' content words are named, by their place and by what they are.

    Args:
        content: Content words of each utterance, as tokens, in order.
        said: Its keywords.
        texts: Text of every token.

    Returns:
        ``positions`` (``first``, ``2nd``, …, ``last``; the only one is the first) and ``words``,
        each with ``recall`` and the ``count`` of occurrences.
    """
    positions: dict[str, list[bool]] = {place: [] for place in (*PLACES, LATER, LAST)}
    words: dict[str, list[bool]] = {}
    for gold, keywords in zip(content, said, strict=True):
        for place, token in enumerate(gold):
            hit = token in keywords
            words.setdefault(_word(texts[token]), []).append(hit)
            if 0 < place == len(gold) - 1:
                positions[LAST].append(hit)
            else:
                positions[PLACES[place] if place < len(PLACES) else LATER].append(hit)
    return {"positions": _recalls(positions), "words": _recalls(words)}


def best_and_worst_words(words: Mapping[str, Mapping]) -> tuple[list[str], list[str]]:
    """Words that are named most and least often, as many of each; rare ones do not count."""
    known = [word for word, found in words.items() if found["count"] >= FEWEST]
    order = sorted(known, key=lambda word: (-words[word]["recall"], word))
    number = min(WORDS, len(order) // 2)
    return order[:number], order[::-1][:number]


def _recalls(hits: Mapping[str, Sequence[bool]]) -> dict[str, dict]:
    return {
        name: {"recall": sum(found) / len(found), "count": len(found)}
        for name, found in hits.items()
        if found
    }


def _named(gold: set[int], read: Ids) -> float:
    return len(gold.intersection(read)) / len(gold) if gold else float("nan")


def _word(token: str) -> str:
    return token.removesuffix(END_OF_WORD) if token.endswith(END_OF_WORD) else f"{token}…"
