"""Readers of word alignments: CTM and Praat TextGrid."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from espnet_plugin.data.scp import columns, text_lines

SILENCES = frozenset({"", "sil", "sp", "spn", "<eps>", "<sil>", "<unk>"})
_ITEM = re.compile(r'"((?:[^"]|"")*)"|([-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)|(<exists>)')


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
        ValueError: A line is malformed; names file and line.
    """
    words: dict[str, list[Word]] = {}
    for number, line in text_lines(path):
        fields = columns(line)
        if not fields or line.startswith(";;"):
            continue
        try:
            start, duration, text = float(fields[2]), float(fields[3]), fields[4]
        except (IndexError, ValueError) as error:
            raise ValueError(
                f"{path}:{number}: expected 'utterance channel start duration word', found {line!r}"
            ) from error
        if duration < 0:
            raise ValueError(f"{path}:{number}: negative duration {duration}")
        if text.casefold() not in SILENCES:
            words.setdefault(fields[0], []).append(Word(text, start, start + duration))
    return {utterance: sorted(spoken, key=_start) for utterance, spoken in words.items()}


def read_textgrid(path: str | Path, *, tier: str = "words") -> list[Word]:
    """Reads an interval tier of a Praat TextGrid, long or short text format; silences left out.

    Args:
        path: The file, UTF-8 or UTF-16.
        tier: Name of the tier, case-folded.

    Raises:
        ValueError: No TextGrid, or no interval tier of this name.
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
        first, position = position + 5, position + 5 + size * int(count)
        if kind == "IntervalTier" and str(name).casefold() == tier.casefold():
            rows = [items[at : at + 3] for at in range(first, position, 3)]
            words = [Word(str(word), float(start), float(end)) for start, end, word in rows]
            return [word for word in words if word.text.strip().casefold() not in SILENCES]
    raise ValueError(f"{path}: no interval tier {tier!r}, only {names}")


def read_textgrids(directory: str | Path, *, tier: str = "words") -> dict[str, list[Word]]:
    """Reads ``<utterance>.TextGrid`` files of a directory (and below)."""
    directory = Path(directory)
    paths = sorted(directory.rglob("*.TextGrid"))
    if not paths:
        raise FileNotFoundError(f"{directory} holds no *.TextGrid file")
    return {path.stem: read_textgrid(path, tier=tier) for path in paths}


def _value(match: re.Match) -> str | float:
    if match.group(1) is not None:
        return match.group(1).replace('""', '"')
    return match.group(3) or float(match.group(2))


def _start(word: Word) -> float:
    return word.start
