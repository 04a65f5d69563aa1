"""Texts for training the small CLIP: captions, and the keyword lists that its reader will meet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from open_clip import SimpleTokenizer

from .world import World


class ReducedTokenizer:
    """Maps words to rows of a table that holds only the words of mini.

    Row 0 pads, then come the words, then start and end of text; the end has the highest row, for
    open_clip reads a text at its highest id.
    """

    def __init__(self, words: Sequence[str]) -> None:
        tokenizer = SimpleTokenizer()
        self.full_ids = []
        for word in words:
            ids = tokenizer.encode(word)
            if len(ids) != 1:
                raise ValueError(f"{word!r} is not one CLIP sub-word but {len(ids)}")
            self.full_ids.append(ids[0])
        self.full_ids += [tokenizer.sot_token_id, tokenizer.eot_token_id]
        self._rows = {word: 1 + index for index, word in enumerate(words)}
        self.sot, self.eot = len(words) + 1, len(words) + 2
        self.size = len(words) + 3

    def batch(self, texts: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
        """Return rows (batch, longest) and the position of each text's end (batch,)."""
        longest = max(len(text) for text in texts) + 2
        rows = np.zeros((len(texts), longest), dtype=np.int64)
        ends = np.zeros(len(texts), dtype=np.int64)
        for index, text in enumerate(texts):
            ids = [self.sot, *(self._rows[word] for word in text), self.eot]
            rows[index, : len(ids)] = ids
            ends[index] = len(ids) - 1
        return rows, ends


def keyword_list(
    rng: np.random.Generator, world: World, words: Sequence[str], *, longest: int
) -> list[str]:
    """Turn a caption into what a keyword extractor may write.

    Most function words go, others come in anywhere, words repeat, now and then one is missing;
    sometimes neighbours change places. What is left to go by are the right content words.

    Args:
        rng: Source of randomness.
        world: Which words there are.
        words: The caption.
        longest: Upper bound of the result's length.

    Returns:
        A list of words, never empty.
    """
    keep_function = rng.random() * 0.5
    repeat = rng.random() * 0.5
    insert = rng.random() * 0.3
    result: list[str] = []
    for word in words:
        content = word in world.content_words
        if rng.random() < (0.07 if content else 1.0 - keep_function):
            continue
        result.append(word)
        while rng.random() < repeat:
            result.append(word)
        if rng.random() < insert:
            result.append(world.function_words[rng.integers(len(world.function_words))])
    if rng.random() < 0.2 and len(result) > 1:
        index = int(rng.integers(len(result) - 1))
        result[index : index + 2] = result[index + 1], result[index]
    return result[:longest] or [words[-1]]


def wrong_text(
    rng: np.random.Generator, world: World, words: Sequence[str], *, longest: int
) -> list[str]:
    """Replace content words of a text, or add others, so that it no longer fits its picture.

    Args:
        rng: Source of randomness.
        world: Which words there are.
        words: A text that fits.
        longest: Upper bound of the result's length.

    Returns:
        The text with one to three wrong content words.
    """
    result = list(words)
    content = sorted(world.content_words)
    for _ in range(int(rng.integers(1, 4))):
        others = [word for word in content if word not in words]
        word = others[rng.integers(len(others))]
        places = [index for index, old in enumerate(result) if old in world.content_words]
        if places and (len(result) >= longest or rng.random() < 0.5):
            result[places[rng.integers(len(places))]] = word
        else:
            result.insert(int(rng.integers(len(result) + 1)), word)
    return result[-longest:]
