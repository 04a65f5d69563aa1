"""Readers of word alignments: CTM and Praat TextGrid.

An utterance whose alignment is damaged is left out and counted in a warning, since half of one
would shift the scores; a source in which nothing is intact is an error.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from espnet_plugin.data.scp import DataError, MissingFileError, columns, text_lines

TIER = "words"  # of a TextGrid, case-folded
WORDS_CTM = "words.ctm"  # in a data directory
SILENCES = frozenset({"", "sil", "sp", "spn", "<eps>", "<sil>", "<unk>"})
_ITEM = re.compile(r'"((?:[^"]|"")*)"|([-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)|(<exists>)')


class AlignmentError(ValueError):
    """Word alignments that cannot be used."""


@dataclass(frozen=True)
class Word:
    """A spoken word and where it lies, in seconds."""

    text: str
    start: float
    end: float


def read_ctm(path: str | Path) -> dict[str, list[Word]]:
    """Reads a Kaldi CTM: ``utterance channel start duration word [confidence]`` a line.

    Raises:
        FileNotFoundError: There is no such file.
        AlignmentError: No utterance is intact; names file, line and what is wrong.
    """
    words: dict[str, list[Word]] = {}
    damaged: dict[str, str] = {}
    try:
        lines = list(text_lines(path))
    except MissingFileError:
        raise
    except DataError as error:
        raise AlignmentError(str(error)) from error
    for number, line in lines:
        if not line.strip() or line.startswith(";;"):
            continue
        utterance, *fields = columns(line)
        try:
            word = _ctm_word(fields)
        except (IndexError, ValueError):
            damaged.setdefault(
                utterance,
                f"{path}:{number}: expected 'utterance channel start duration word', "
                f"found {line[:80]!r}",
            )
            continue
        spoken = words.setdefault(utterance, [])
        if word.text.casefold() not in SILENCES:
            spoken.append(word)
    intact = {
        u: sorted(spoken, key=lambda word: word.start)
        for u, spoken in words.items()
        if u not in damaged
    }
    _report_damaged(damaged, len(intact))
    return {utterance: spoken for utterance, spoken in intact.items() if spoken}


def read_textgrid(path: str | Path) -> list[Word]:
    """Reads the words of a Praat TextGrid, long or short text format; silences left out.

    Args:
        path: The file, UTF-8 or UTF-16.

    Raises:
        ValueError: No TextGrid, or no interval tier called ``words``.
    """
    path = Path(path)
    content = path.read_bytes()
    utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = content.decode("utf-16" if utf16 else "utf-8-sig")
    if "TextGrid" not in text[:200]:
        raise ValueError(f"{path} is no TextGrid in text format")
    # Both formats hold the same strings and numbers in the same order; the long one adds names.
    body = re.sub(r"\[\d*\]", " ", text.split("TextGrid", 1)[1].partition('"')[2])
    items = [_value(match) for match in _ITEM.finditer(body)]
    names = []
    position = 0
    while position < len(items):
        if items[position] not in ("IntervalTier", "TextTier"):
            position += 1
            continue
        kind, name, _, _, count = items[position : position + 5]
        names.append(str(name))
        size = 3 if kind == "IntervalTier" else 2
        if not 0 <= float(count) <= len(items):
            raise ValueError(f"{path}: a tier of {count} intervals")
        first, position = position + 5, position + 5 + size * int(count)
        if kind == "IntervalTier" and str(name).casefold() == TIER:
            rows = [items[at : at + 3] for at in range(first, position, 3)]
            words = [Word(str(word), float(start), float(end)) for start, end, word in rows]
            return [word for word in words if word.text.strip().casefold() not in SILENCES]
    raise ValueError(f"{path}: no interval tier {TIER!r}, only {names}")


def read_textgrids(directory: str | Path) -> dict[str, list[Word]]:
    """Reads ``<utterance>.TextGrid`` files of a directory (and below).

    Raises:
        FileNotFoundError: There is none.
        AlignmentError: No file is intact.
    """
    directory = Path(directory)
    paths = sorted(directory.rglob("*.TextGrid"))
    if not paths:
        raise FileNotFoundError(f"{directory} holds no *.TextGrid file")
    words: dict[str, list[Word]] = {}
    damaged: dict[str, str] = {}
    for path in paths:
        try:
            words[path.stem] = read_textgrid(path)
        except (ValueError, IndexError) as error:
            damaged[path.stem] = f"{path}: {error}"
    _report_damaged(damaged, len(words))
    return words


def _ctm_word(fields: list[str]) -> Word:
    start, duration, text = float(fields[1]), float(fields[2]), fields[3]
    if not (math.isfinite(start) and 0 <= duration < math.inf):
        raise ValueError(f"a word of {duration} s at {start} s")
    return Word(text, start, start + duration)


def _report_damaged(damaged: Mapping[str, str], num_intact: int) -> None:
    if not damaged:
        return
    first = next(iter(damaged.values()))
    if not num_intact:
        raise AlignmentError(f"no utterance has an intact word alignment: {first}")
    logging.warning(
        f"{len(damaged)} utterances are left out of the word alignments, {num_intact} remain; "
        f"the first: {first}"
    )


def _value(match: re.Match) -> str | float:
    if match.group(1) is not None:
        return match.group(1).replace('""', '"')
    return match.group(3) or float(match.group(2))
