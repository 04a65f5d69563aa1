"""Texts of CLIP's tokens, and words made of sub-words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from espnet_plugin.data.english import is_stop_word
from espnet_plugin.data.words import END_OF_WORD
from espnet_plugin.utils.constants import EOT_ID, SOT_ID

if TYPE_CHECKING:
    from open_clip.tokenizer import SimpleTokenizer

SPECIAL_IDS = frozenset({0, SOT_ID, EOT_ID})  # 0, the token of "!", pads
_WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d", re.IGNORECASE)


@cache
def clip_tokenizer() -> SimpleTokenizer:
    """CLIP's own tokenizer; imported only if needed, because it loads PyTorch."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


def is_content(token: str) -> bool:
    """Whether a sub-word carries content: it is neither a stop word nor punctuation."""
    if not any(letter.isalnum() for letter in token.removesuffix(END_OF_WORD)):
        return False
    return not (token.endswith(END_OF_WORD) and is_stop_word(token.removesuffix(END_OF_WORD)))


def merge_words(tokens: Iterable[str]) -> list[tuple[str, tuple[int, ...]]]:
    """Joins the sub-words of a text into words, without punctuation.

    Pieces are joined up to the next one that ends a word; open pieces at the end are a word too.

    Returns:
        The words, each with the positions of its sub-words.
    """
    words: list[tuple[str, tuple[int, ...]]] = []
    pieces, start = list(tokens), 0
    for stop, piece in enumerate(pieces, 1):
        if piece.endswith(END_OF_WORD) or stop == len(pieces):
            if word := word_of(pieces[start:stop]):
                words.append((word, tuple(range(start, stop))))
            start = stop
    return words


def word_of(pieces: Iterable[str]) -> str:
    """The word of sub-words, case-folded; empty without a letter or digit."""
    word = _decode("".join(pieces).removesuffix(END_OF_WORD)).casefold()
    return word if any(letter.isalnum() for letter in word) else ""


def split_words(text: str) -> list[str]:
    """Splits text into words as CLIP's tokenizer does before its merges: "dog's" is dog + 's."""
    return [word.casefold() for word in _WORD.findall(text)]


def texts_of(ids: Sequence[int], texts: Mapping[int, str], source: str) -> list[str]:
    """Looks up the texts of token ids.

    Raises:
        ValueError: If an id has no text.
    """
    try:
        return [texts[i] for i in ids]
    except KeyError as error:
        raise ValueError(f"{source}: token id {error} is none of CLIP's") from error


def _decode(text: str) -> str:
    """Text of the printable letters that CLIP's byte-level BPE uses for bytes."""
    byte_of = clip_tokenizer().byte_decoder
    return bytes(byte_of[letter] for letter in text).decode("utf-8", errors="replace")
