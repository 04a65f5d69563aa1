"""The sub-words of CLIP's tokenizer that keywords are chosen from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

HEADER = "id\ttoken\tcount"
PADDING_ID = 0
CONTEXT_LENGTH = 77


@dataclass(frozen=True)
class KeywordVocabulary:
    """Rows of the keyword table.

    Attributes:
        ids: CLIP token id of each row.
        forbidden: Token ids with a row that are never chosen (special tokens).
        counts: How often each row occurs in the captions or another text; empty if nobody counted.
    """

    ids: tuple[int, ...]
    forbidden: frozenset[int] = frozenset()
    counts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.ids:
            raise ValueError("the keyword vocabulary is empty")
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("the keyword vocabulary names a token id twice")
        if len(set(self.ids) - self.forbidden) < 2:
            raise ValueError(
                "the keyword vocabulary has fewer than two sub-words beside special tokens. Make "
                "it from captions (stage 5)"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def from_file(cls, path: str | Path) -> KeywordVocabulary:
        """Reads ``id<tab>token<tab>count`` lines under a header.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If a line has another form; the message names it.
        """
        path = Path(path)
        if path.is_dir():
            raise ValueError(f"keyword vocabulary {path}: a folder, not a file")
        if not path.is_file():
            raise FileNotFoundError(
                f"keyword vocabulary {path} not found; make it with "
                "`python -m espnet_plugin.bin.keyword_vocabulary` (stage 5 of the recipe)"
            )
        header, *lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        if header != HEADER:
            raise ValueError(f"{path}: first line is {header!r}, expected {HEADER!r}")
        ids, counts = [], []
        for number, line in enumerate(lines, 2):
            fields = line.split("\t")
            if len(fields) != 3 or not (fields[0].isdecimal() and fields[2].isdecimal()):
                raise ValueError(f"{path}:{number}: expected id<tab>token<tab>count, got {line!r}")
            ids.append(int(fields[0]))
            counts.append(int(fields[2]))
        return cls(tuple(ids), counts=tuple(counts))


def resolve_vocabulary(
    source: str | Path | Iterable[int] | Mapping[str, Iterable[int]] | None,
    *,
    special_ids: Iterable[int],
) -> KeywordVocabulary:
    """Reads a vocabulary from a file or a list of ids; special tokens in it are forbidden.

    A list with start and end is the original's, in which id 0 is padding and also forbidden.

    Args:
        source: Path of a vocabulary file, or token ids in row order, or ``{ids: [...], forbidden:
            [...]}`` when other tokens than the special ones are forbidden (converted checkpoints).
        special_ids: Token ids of the tokenizer's start and end.

    Raises:
        ValueError: If there is no source, or an id is not valid.
    """
    if source is None:
        raise ValueError(
            "this architecture extracts keywords and needs keyword_vocabulary: a file "
            "or a list of ids"
        )
    if isinstance(source, Mapping):
        ids = _token_ids(source.get("ids", ()))
        forbidden = frozenset(_token_ids(source.get("forbidden", special_ids)))
        return KeywordVocabulary(ids, forbidden & frozenset(ids))
    vocabulary = (
        KeywordVocabulary.from_file(source)
        if isinstance(source, str | Path)
        else KeywordVocabulary(_token_ids(source))
    )
    known, special = frozenset(vocabulary.ids), frozenset(special_ids)
    if special and special <= known:
        special |= {PADDING_ID}
    return replace(vocabulary, forbidden=special & known)


def _token_ids(values: Iterable[Any]) -> tuple[int, ...]:
    ids = tuple(values)
    for value in ids:
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
            raise ValueError(f"the keyword vocabulary holds {value!r}, which is not a token id")
    return tuple(map(int, ids))


def count_subwords(texts: Iterable[tuple[str, int]], tokenizer: Any) -> Counter[int]:
    """Counts token ids over texts, without start, end and padding.

    Args:
        texts: Each with how often it occurs.
        tokenizer: CLIP's.
    """
    counts: Counter[int] = Counter()
    for text, times in texts:
        for token_id in tokenizer.encode(text):
            counts[token_id] += times
    return counts


def count_with_padding(captions: Iterable[str], tokenizer: Any) -> Counter[int]:
    """Counts as the original does: with start, end and the padding up to 77 positions.

    Args:
        captions: Texts to count in.
        tokenizer: CLIP's tokenizer, with ``encode``, ``sot_token_id`` and ``eot_token_id``.
    """
    counts: Counter[int] = Counter()
    for caption in captions:
        ids = tokenizer.encode(caption)[: CONTEXT_LENGTH - 2]
        counts.update([tokenizer.sot_token_id, *ids, tokenizer.eot_token_id])
        counts[PADDING_ID] += CONTEXT_LENGTH - 2 - len(ids)
    return counts


def vocabulary_text(counts: Mapping[int, int], tokens: Mapping[int, str]) -> str:
    """Content of a vocabulary file: the most frequent tokens first, ties by id.

    Args:
        counts: How often each token id occurs.
        tokens: Text of each token id.
    """
    ids = sorted(counts, key=lambda token_id: (-counts[token_id], token_id))
    rows = [f"{token_id}\t{tokens[token_id]}\t{counts[token_id]}" for token_id in ids]
    return "\n".join([HEADER, *rows, ""])
