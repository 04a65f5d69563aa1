"""CLIP's sub-words, reduced to those of a few words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from open_clip import SimpleTokenizer


class ReducedTokenizer:
    """Maps words to rows of a table that holds only the sub-words of some words.

    Row 0 pads, then come the sub-words, then start and end of text. The end has the highest row,
    because open_clip reads a text at its highest id.

    Args:
        words: Words that texts may have.
    """

    def __init__(self, words: Sequence[str]) -> None:
        tokenizer = SimpleTokenizer()
        ids = {word: tokenizer.encode(word) for word in words}
        row_of = {i: 1 + n for n, i in enumerate(dict.fromkeys(chain.from_iterable(ids.values())))}
        self.full_ids = [*row_of, tokenizer.sot_token_id, tokenizer.eot_token_id]
        self._rows = {word: [row_of[i] for i in pieces] for word, pieces in ids.items()}
        self.sot, self.eot = len(row_of) + 1, len(row_of) + 2
        self.size = len(row_of) + 3

    def encode(self, texts: Sequence[Sequence[str]]) -> list[list[int]]:
        """Return the rows of each text, without start and end."""
        return [[row for word in text for row in self._rows[word]] for text in texts]
