"""What of a data directory cannot be used: a list with the reasons, and when it is too long."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from espnet_plugin.data.scp import text_lines
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.errors import DataError

LIST = "skipped.tsv"
FEW = 50  # so many stop no set, unless they are more than half of it
_ENDS = str.maketrans("\t\r\n", "   ")


class Skipped(NamedTuple):
    """An utterance that is left out, the file that it is about, and what is wrong."""

    utterance: str
    file: str
    problem: str


def read_skipped(directory: Path) -> list[Skipped]:
    """Reads a directory's list, which is empty if there is none."""
    path = directory / LIST
    rows = [line.split("\t") for _, line in text_lines(path)] if path.is_file() else []
    return [Skipped(*[*row, "", ""][:3]) for row in rows[1:]]


def write_skipped(directory: Path, skipped: Iterable[Skipped]) -> None:
    """Writes a directory's list."""
    rows = [[value.translate(_ENDS) for value in row] for row in (Skipped._fields, *skipped)]
    text = "".join("\t".join(row) + "\n" for row in rows)
    # a name may hold what no text file can
    write_text(directory / LIST, text.encode("utf-8", "backslashreplace").decode())


def require_few(directory: Path, *, kept: int, max_bad: float) -> list[Skipped]:
    """Returns the list of a directory, or raises when it is too long.

    Args:
        directory: The data directory.
        kept: Number of utterances that are not on the list.
        max_bad: Share of the utterances that may be on it, 0 to 1. Unless it is 0, up to 50 may
            be, too, but no more than half.

    Raises:
        DataError: If more are on it, or nothing is left.
    """
    skipped = read_skipped(directory)
    total = kept + len(skipped)
    most = max(max_bad * total, min(FEW, total / 2)) if max_bad else 0
    if len(skipped) > most or not kept:
        raise DataError(
            f"{directory}: utterances that cannot be used: {len(skipped)} of {total}; the first: "
            f"{': '.join(skipped[0])}. All are listed in {directory / LIST}. Is the corpus "
            f"complete and its disk mounted? If so, allow a larger share with --max_bad (now "
            f"{max_bad})"
        )
    return skipped
