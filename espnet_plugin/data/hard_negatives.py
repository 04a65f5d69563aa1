"""Pairs of images that differ in one thing only, in a data directory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from espnet_plugin.data.scp import DataError, text_lines
from espnet_plugin.utils.atomic import write_text

HARD_NEGATIVES = "hard_negatives.tsv"
_HEADER = "image\tnegative\tkind"


@dataclass(frozen=True)
class HardNegative:
    """Another image, which captions of ``image`` do not describe.

    Attributes:
        image: Id of the image.
        negative: Id of the other image.
        kind: Word for what differs, e.g. ``relation``.
    """

    image: str
    negative: str
    kind: str


def write_hard_negatives(path: str | Path, pairs: Iterable[HardNegative]) -> None:
    """Writes a data directory's ``hard_negatives.tsv``; without pairs the file is removed."""
    rows = [f"{pair.image}\t{pair.negative}\t{pair.kind}" for pair in pairs]
    if rows:
        write_text(path, "\n".join([_HEADER, *rows]) + "\n")
    else:
        Path(path).unlink(missing_ok=True)


def read_hard_negatives(path: str | Path) -> list[HardNegative]:
    """Reads a table of hard negatives.

    Raises:
        DataError: If the header or a line is malformed.
    """
    pairs = []
    for number, line in text_lines(path):
        if number == 1 and line.strip() != _HEADER:
            raise DataError(f"{path}:1: expected the header 'image, negative, kind', by tabs")
        if number == 1 or not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) != 3:
            raise DataError(f"{path}:{number}: expected image, negative and kind by tabs")
        pairs.append(HardNegative(*fields))
    return pairs


def hard_negatives_of(directory: Path) -> list[HardNegative]:
    """The hard negatives in a set's directory; empty without a table."""
    path = directory / HARD_NEGATIVES
    return read_hard_negatives(path) if path.exists() else []


def families(pairs: Iterable[HardNegative]) -> dict[str, str]:
    """Gives the first image of each image's family. Pairs join images into families, which are not
    independent draws."""
    members: dict[str, list[str]] = {}
    for pair in pairs:
        family = members.setdefault(pair.image, [pair.image])
        other = members.setdefault(pair.negative, [pair.negative])
        if other is not family:
            family += other
            members.update(dict.fromkeys(other, family))
    return {image: family[0] for image, family in members.items()}
