"""What the CLIP token ids say, and how sub-words make up words."""

from __future__ import annotations

import gzip
import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from espnet_plugin.data.scp import text_lines
from espnet_plugin.evaluation.stop_words import is_stop_word

START_OF_TEXT, END_OF_TEXT = 49406, 49407
SPECIAL_IDS = frozenset({0, START_OF_TEXT, END_OF_TEXT})  # 0, the token of "!", pads
END_OF_WORD = "</w>"
_WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d", re.IGNORECASE)


def read_token_list(path: str | Path) -> dict[int, str]:
    """Reads the sub-word texts of a ``tokens.tsv`` (columns id, token, count; with a header)."""
    texts = {}
    for number, line in text_lines(path):
        fields = line.split("\t")
        if number == 1 and fields[0] == "id":
            continue
        if len(fields) < 2 or not fields[0].isdigit():
            raise ValueError(f"{path}:{number}: expected id, token and count, found {line!r}")
        texts[int(fields[0])] = fields[1]
    return texts


def clip_token_texts() -> dict[int, str]:
    """Reads the texts of all 49,408 CLIP tokens from the vocabulary that open_clip ships.

    The ids run over the 256 bytes, the 256 bytes at a word's end, the merges in the file's order,
    and the two special tokens.

    Raises:
        FileNotFoundError: open_clip is not installed.
    """
    spec = importlib.util.find_spec("open_clip")  # not imported, which would load PyTorch
    path = Path(spec.origin).parent / "bpe_simple_vocab_16e6.txt.gz" if spec else None
    if path is None or not path.exists():
        raise FileNotFoundError(
            "CLIP's vocabulary comes with open_clip: pip install open_clip_torch"
        )
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        merges = stream.read().split("\n")[1 : 49152 - 256 - 2 + 1]
    alphabet = list(_byte_letters().values())
    tokens = alphabet + [letter + END_OF_WORD for letter in alphabet]
    tokens += ["".join(line.split()) for line in merges]
    return dict(enumerate([*tokens, "<start_of_text>", "<end_of_text>"]))


def is_content(token: str) -> bool:
    """Whether a sub-word carries content: every piece that is no stop word or punctuation."""
    if not any(letter.isalnum() for letter in token.removesuffix(END_OF_WORD)):
        return False
    return not (token.endswith(END_OF_WORD) and is_stop_word(token.removesuffix(END_OF_WORD)))


def merge_words(tokens: Iterable[str]) -> list[tuple[str, tuple[int, ...]]]:
    """Joins sub-words into words, case-folded.

    Pieces are joined up to the next one that ends a word; what is left open at the end is a word
    too. Words without letter or digit (punctuation) are dropped.

    Returns:
        Words, each with the positions of its sub-words.
    """
    words: list[tuple[str, tuple[int, ...]]] = []
    pieces: list[str] = []
    positions: list[int] = []

    def close() -> None:
        word = _decode("".join(pieces)).casefold()
        if any(letter.isalnum() for letter in word):
            words.append((word, tuple(positions)))
        pieces.clear()
        positions.clear()

    for position, token in enumerate(tokens):
        pieces.append(token.removesuffix(END_OF_WORD))
        positions.append(position)
        if token.endswith(END_OF_WORD):
            close()
    if pieces:
        close()
    return words


def split_words(text: str) -> list[str]:
    """Splits text into words as CLIP's tokenizer does before its merges: "dog's" is dog + 's."""
    return [word.casefold() for word in _WORD.findall(text)]


def texts_of(ids: Sequence[int], texts: Mapping[int, str], source: str) -> list[str]:
    """Looks up the texts of token ids.

    Raises:
        ValueError: An id is in no token list that was read.
    """
    try:
        return [texts[i] for i in ids]
    except KeyError as error:
        raise ValueError(f"{source}: token id {error} is not in the token list") from error


def _byte_letters() -> dict[int, str]:
    """The printable letter that stands for each byte in byte-level BPE."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    letters = {byte: chr(byte) for byte in printable}
    letters.update({byte: chr(256 + index) for index, byte in enumerate(others)})
    return letters


_BYTES = {letter: byte for byte, letter in _byte_letters().items()}


def _decode(text: str) -> str:
    if all(letter in _BYTES for letter in text):
        return bytes(_BYTES[letter] for letter in text).decode("utf-8", errors="replace")
    return text
