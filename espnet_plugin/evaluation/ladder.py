"""The ladder: what CLIP's text tower is given to read, from the caption down to the keywords.

Retrieval by keywords loses against retrieval by captions. Each step changes one thing, so that the
step at which recall falls says what was lost there. ``ladder.npz`` in a set's directory holds, for
every step, the L2-normalised embeddings (utterances, dim) and, as ``<step>.ids``, the tokens that
were read (utterances, most), -1 at padding.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from espnet_plugin.evaluation.alignments import Word
from espnet_plugin.evaluation.keyword_file import UtteranceKeywords
from espnet_plugin.evaluation.stop_words import is_stop_word
from espnet_plugin.evaluation.token_texts import SPECIAL_IDS, is_content, texts_of
from espnet_plugin.utils.atomic import atomic_path

LADDER = "ladder.npz"
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
