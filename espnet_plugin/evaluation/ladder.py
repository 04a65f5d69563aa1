"""The ladder: what CLIP's text tower is given to read, from the caption down to the keywords.

Retrieval by keywords loses against retrieval by captions. Each step changes one thing, so the step
at which recall falls shows what was lost there.

``ladder.npz`` in a set's directory holds, for each step, the L2-normalised embeddings (utterances,
dim) and, as ``<step>.ids``, the tokens that were read (utterances, most), -1 at padding.
:func:`espnet_plugin.inference.ladder.read_steps` makes the embeddings.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from espnet_plugin.data.alignments import WORDS_CTM, Word, read_ctm
from espnet_plugin.data.inference_set import KEYWORDS as KEYWORDS_FILE
from espnet_plugin.data.inference_set import InferenceSet
from espnet_plugin.data.keyword_file import UtteranceKeywords
from espnet_plugin.data.scp import DataError, read_scp
from espnet_plugin.data.stop_words import is_stop_word
from espnet_plugin.evaluation.retrieval import rank_embeddings
from espnet_plugin.evaluation.scores.files import write_json
from espnet_plugin.evaluation.scores.keywords import load_token_texts
from espnet_plugin.evaluation.statistics import bootstrap_means
from espnet_plugin.evaluation.token_texts import END_OF_WORD, SPECIAL_IDS, is_content, texts_of
from espnet_plugin.utils.atomic import atomic_path

LADDER = "ladder.npz"
LADDER_SCORES = Path("scoring") / "ladder.json"
RECALL_AT = (1, 10)
PLACES = ("first", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th")
LATER, LAST = "later", "last"
FEWEST = 10  # occurrences from which a word is among the best or the worst
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
    "soft": "keywords before the quantiser",
    "word_spans": "keywords from the true spans of all words",
    "content_spans": "keywords from the true spans of content words",
}
Ids = tuple[int, ...]


def heard_utterances(data: InferenceSet) -> list[UtteranceKeywords]:
    """Keywords and caption of each of a set's utterances, in their order.

    Raises:
        DataError: Some have none.
    """
    heard = {utterance.utterance: utterance for utterance in data.keywords}
    missing = [utterance for utterance in data.utterances if utterance not in heard]
    if missing:
        raise DataError(
            f"{data.directory / KEYWORDS_FILE}: no keywords and caption of {len(missing)} "
            f"utterances, the first is {missing[0]}: the ladder needs a cascaded branch and "
            "inference with --text"
        )
    return [heard[utterance] for utterance in data.utterances]


def text_steps(
    utterances: Sequence[UtteranceKeywords], texts: Mapping[int, str], *, seed: int = 0
) -> dict[str, list[Ids]]:
    """What is read at each step that is made of tokens alone.

    Args:
        utterances: What ``read_keywords`` returns.
        texts: Text of every token id that occurs.
        seed: Of the order of ``shuffled``.

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


def spoken_steps(
    utterances: Sequence[str], data_dir: str | Path | None, *, segmented: bool
) -> tuple[list[str], dict[str, list[list[tuple[float, float]] | None]]]:
    """Recordings of a set, and the keywords of the steps with true spans.

    Args:
        utterances: Their ids.
        data_dir: Data directory with ``wav.scp`` and, for the spans, ``words.ctm``; None: neither.
        segmented: Whether the model's keywords have spans.

    Returns:
        File of each utterance; and the spans, see :func:`span_steps`. Empty where there are none.

    Raises:
        DataError: If an utterance has no recording.
    """
    wav_scp = Path(data_dir or "") / "wav.scp"
    if data_dir is None or not wav_scp.exists():
        return [], {}
    recording_of = read_scp(wav_scp)
    absent = next((utterance for utterance in utterances if utterance not in recording_of), None)
    if absent:
        raise DataError(f"{wav_scp}: no recording of {absent}; is it of this set?")
    recordings = [recording_of[utterance] for utterance in utterances]
    words_ctm = wav_scp.with_name(WORDS_CTM)
    spans = span_steps(utterances, read_ctm(words_ctm)) if segmented and words_ctm.exists() else {}
    return recordings, spans


def span_steps(
    utterances: Sequence[str], words: Mapping[str, Sequence[Word]]
) -> dict[str, list[list[tuple[float, float]] | None]]:
    """Where the keywords of the steps with true spans lie.

    Args:
        utterances: Their ids.
        words: Word alignment of each.

    Returns:
        Step → start and end of each keyword of each utterance in seconds; None where no such word
        is known, which leaves the utterance to the model.
    """
    unknown = [utterance for utterance in utterances if utterance not in words]
    if unknown:
        logging.warning(
            f"{len(unknown)} of {len(utterances)} utterances have no word alignment and keep the "
            f"model's own segments, the first is {unknown[0]}"
        )
    spoken = [words.get(utterance, ()) for utterance in utterances]
    content = [[word for word in row if not is_stop_word(word.text)] for row in spoken]
    return {
        step: [[(word.start, word.end) for word in row] or None for row in rows]
        for step, rows in (("word_spans", spoken), ("content_spans", content))
    }


def write_ladder(
    path: Path, ids: Mapping[str, Sequence[Ids]], embeddings: Mapping[str, np.ndarray]
) -> None:
    """Writes ``ladder.npz``.

    Args:
        path: Where.
        ids: Step → the tokens of each utterance.
        embeddings: Step → (utterances, dim).
    """
    arrays = {step: np.asarray(array, dtype=np.float32) for step, array in embeddings.items()}
    for step in embeddings:
        table = np.full((len(ids[step]), max(map(len, ids[step]))), -1, dtype=np.int32)
        for row, tokens in enumerate(ids[step]):
            table[row, : len(tokens)] = tokens
        arrays[f"{step}.ids"] = table
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)


def read_ladder(path: Path) -> tuple[dict[str, list[Ids]], dict[str, np.ndarray]]:
    """What ``write_ladder`` was given, steps in the order of ``STEPS``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            steps = [step for step in STEPS if step in stored]
            embeddings = {step: stored[step] for step in steps}
            tables = {step: stored[f"{step}.ids"] for step in steps}
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy each have their own
        raise ValueError(f"{path} is damaged ({error}): run score_ladder again") from error
    ids = {step: [tuple(row[row >= 0].tolist()) for row in table] for step, table in tables.items()}
    return ids, embeddings


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
