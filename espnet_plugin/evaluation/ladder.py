"""The ladder: what CLIP's text tower reads, from the caption down to the keywords.

Keywords find fewer images than captions. Each step changes one thing, so the step at which recall
falls shows what was lost.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from espnet_plugin.data.inference_set import KEYWORDS as KEYWORDS_FILE
from espnet_plugin.data.inference_set import InferenceSet
from espnet_plugin.data.keyword_file import UtteranceKeywords
from espnet_plugin.data.scp import DataError
from espnet_plugin.evaluation.retrieval import rank_embeddings
from espnet_plugin.evaluation.scores.files import write_json
from espnet_plugin.evaluation.statistics import bootstrap_means
from espnet_plugin.evaluation.token_texts import END_OF_WORD, SPECIAL_IDS, is_content, texts_of

LADDER_SCORES = Path("scoring") / "ladder.json"
KEYWORDS_DIGEST = "keywords_sha256"
RECALL_AT = (1, 10)
PLACES = ("first", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th")
LATER, LAST = "later", "last"
FEWEST = 10  # occurrences of a best or worst word
WORDS = 10  # of each
CAPTION, CONTENT, KEYWORDS = "caption", "content_words", "keywords"
STEPS = {
    CAPTION: "the caption",
    CONTENT: "its content words",
    "shuffled": "its content words in any order",
    "named": "those content words that the model named",
    KEYWORDS: "all keywords of the model",
    "collapsed": "keywords, equal neighbours as one",
    "distinct": "keywords, each once",
}
Ids = tuple[int, ...]


def captioned_utterances(data: InferenceSet) -> list[UtteranceKeywords]:
    """Keywords and caption of each of a set's utterances, in their order.

    Raises:
        DataError: Some have none.
    """
    spoken = {utterance.utterance: utterance for utterance in data.keywords}
    missing = [utterance for utterance in data.utterances if utterance not in spoken]
    if missing:
        raise DataError(
            f"{data.directory / KEYWORDS_FILE}: {len(missing)} utterances have no keywords and "
            f"caption, the first is {missing[0]}: the ladder needs a cascaded branch and "
            "inference with --text"
        )
    return [spoken[utterance] for utterance in data.utterances]


def text_steps(
    utterances: Sequence[UtteranceKeywords], texts: Mapping[int, str], *, seed: int = 0
) -> dict[str, list[Ids]]:
    """Tokens that are read at each step.

    Args:
        utterances: What ``read_keywords`` returns.
        texts: Text of every token id that occurs.
        seed: Seed of the order of ``shuffled``.

    Returns:
        Step → the tokens of each utterance, without special ones.
    """
    rng = np.random.default_rng(seed)
    steps: dict[str, list[Ids]] = {}
    for utterance in utterances:
        caption = [i for i in utterance.caption_ids if i not in SPECIAL_IDS]
        tokens = texts_of(caption, texts, utterance.utterance)
        content = [i for i, token in zip(caption, tokens, strict=True) if is_content(token)]
        said = [keyword.token_id for keyword in utterance.keywords]
        read = {
            CAPTION: caption,
            CONTENT: content,
            "shuffled": [content[place] for place in rng.permutation(len(content))],
            "named": [i for i in content if i in said],
            KEYWORDS: said,
            "collapsed": [i for n, i in enumerate(said) if not n or i != said[n - 1]],
            "distinct": list(dict.fromkeys(said)),
        }
        for step, ids in read.items():
            steps.setdefault(step, []).append(tuple(ids))
    return steps


def score_ladder(
    data: InferenceSet,
    ids: Mapping[str, Sequence[Ids]],
    embeddings: Mapping[str, np.ndarray],
    texts: Mapping[int, str],
) -> dict:
    """Scores a set's ladder and writes ``scoring/ladder.json``.

    Args:
        data: The set.
        ids: Step → the tokens of each utterance.
        embeddings: Step → (utterances, dim), L2-normalised.
        texts: Text of every token.

    Returns:
        ``steps.<step>`` with ``recall@k``, mean number of ``tokens``, ``content_word_recall`` and
        ``intervals``; ``positions`` and ``words``, see ``content_word_recalls``.
    """
    scores: dict = {"steps": {}}
    for step in (step for step in STEPS if step in embeddings):
        ranks, _ = rank_embeddings(embeddings[step], data.image, data.image_of, data.images)
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
    scores |= content_word_recalls(ids[CONTENT], ids[KEYWORDS], texts)
    write_json(data.directory / LADDER_SCORES, {**scores, KEYWORDS_DIGEST: _digest(data)})
    return scores


def read_ladder(data: InferenceSet) -> dict | None:
    """What ``score_ladder`` returned for a set; None, with a warning, if keywords changed since."""
    path = data.directory / LADDER_SCORES
    if not path.exists():
        return None
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
        if scores.pop(KEYWORDS_DIGEST) == _digest(data):
            return scores
    except (AttributeError, KeyError, TypeError, ValueError):
        pass  # damaged, or of an earlier version
    logging.warning(f"{path} does not belong to {KEYWORDS_FILE}: run score_ladder again")
    return None


def _digest(data: InferenceSet) -> str:
    return hashlib.sha256((data.directory / KEYWORDS_FILE).read_bytes()).hexdigest()


def content_word_recalls(
    content: Sequence[Ids], said: Sequence[Ids], texts: Mapping[int, str]
) -> dict:
    """Shares of the captions' content words that are named, by place and by word.

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
    """Words that are named most and least often, equally many; rare ones do not count."""
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
