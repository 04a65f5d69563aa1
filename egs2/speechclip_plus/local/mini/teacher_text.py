"""Texts for training the small CLIP: captions, and the keyword lists that it will read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .world import World


def keyword_list(
    rng: np.random.Generator, world: World, words: Sequence[str], *, longest: int
) -> list[str]:
    """Turn a caption into what a keyword extractor may write.

    Most function words go, others come in anywhere, words repeat, and now and then one is missing.
    Sometimes neighbours change places. What is left to go by are the right content words.

    Args:
        rng: Source of randomness.
        world: World whose words there are.
        words: Words of the caption.
        longest: Largest number of words of the result.

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
    """Replace content words of a text, or add others: it no longer fits its image.

    Args:
        rng: Source of randomness.
        world: World whose words there are.
        words: Words of a text that fits.
        longest: Largest number of words of the result.

    Returns:
        The text with one to three wrong content words.
    """
    result, fitting = list(words), frozenset(words)
    content = world.sorted_content_words
    for _ in range(int(rng.integers(1, 4))):
        others = [word for word in content if word not in fitting]
        word = others[rng.integers(len(others))]
        places = [index for index, old in enumerate(result) if old in world.content_words]
        if places and (len(result) >= longest or rng.random() < 0.5):
            result[places[rng.integers(len(places))]] = word
        else:
            result.insert(int(rng.integers(len(result) + 1)), word)
    return result[-longest:]
