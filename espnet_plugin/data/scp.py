"""The two-column text files of a data directory: an id, a space, the rest of the line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from espnet_plugin.utils.atomic import atomic_path


class DataError(ValueError):
    """Something is wrong with the user's data; the message says where, what, and what to do."""


def read_lines(path: str | Path) -> Iterator[tuple[str, str]]:
    """Yields (id, rest of the line) in file order; an id alone yields an empty rest.

    Raises:
        DataError: The file is missing or not UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; run the data preparation (stages 1 to 3) first")
    with path.open(encoding="utf-8") as stream:
        try:
            for line in stream:
                key, _, value = line.strip().partition(" ")
                if not key:
                    continue
                # a tab between the columns is as good as a space
                head, tab, tail = key.partition("\t")
                yield (head, f"{tail} {value}".strip()) if tab else (key, value.strip())
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error}); convert it first") from error


def read_scp(path: str | Path) -> dict[str, str]:
    """Reads a file whose ids are unique.

    Raises:
        DataError: An id stands there twice.
    """
    table: dict[str, str] = {}
    for key, value in read_lines(path):
        if key in table:
            raise DataError(f"{path}: '{key}' stands there twice; every id needs a line of its own")
        table[key] = value
    return table


def sort_key(line: tuple[str, str]) -> bytes:
    """Orders ids as ``LC_ALL=C sort`` does: by their bytes."""
    return line[0].encode("utf-8")


def write_lines(path: str | Path, lines: Iterable[tuple[str, str]]) -> int:
    """Writes (id, value) lines in the order given, atomically; returns their number."""
    count = 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for key, value in lines:
            stream.write(f"{key} {value}\n" if value else f"{key}\n")
            count += 1
    return count


def write_scp(path: str | Path, table: Mapping[str, object]) -> int:
    """Writes a table sorted by id as ``LC_ALL=C sort`` would; returns the number of lines."""
    return write_lines(path, sorted(((k, str(v)) for k, v in table.items()), key=sort_key))
