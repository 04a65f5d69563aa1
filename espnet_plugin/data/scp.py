"""Read and write Kaldi's tables: UTF-8, one id a line, then spaces or tabs and the rest.

Captions may hold any character, so only a line feed ends a line (with a carriage return before it),
and only spaces and tabs separate columns. ``str.splitlines`` and ``str.split`` also cut at U+2028,
U+0085, form feeds and more: never read a table with them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.errors import DataError

_LINE = re.compile(r"(\S+)(?:[ \t]+(.*))?", re.DOTALL)
_COLUMN = re.compile(r"[^ \t]+")
_PLAIN_NAME = re.compile(r"[^./~\0][^/~\0]*")
_MOST_BYTES = 200  # of a file's name, which may have 255 with suffixes


class MissingFileError(DataError, FileNotFoundError):
    """A text file is not there."""


def text_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yields (number from 1 on, line without its end) of a UTF-8 text file.

    Raises:
        MissingFileError: If there is no such file.
        DataError: If it is not UTF-8.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path}: a folder, not a file")
    if not path.is_file():
        raise MissingFileError(f"{path} is missing; run the stage that writes it first")
    with path.open(encoding="utf-8", newline="\n") as stream:
        try:
            for number, line in enumerate(stream, 1):
                # editors put a byte-order mark before the first line; joined files have several
                yield number, line.lstrip("\ufeff").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error}); convert it first") from error


def columns(line: str) -> list[str]:
    """The columns of a line, between spaces and tabs."""
    return _COLUMN.findall(line)


def read_lines(path: str | Path) -> Iterator[tuple[str, str]]:
    """Yields (id, rest of the line) of each line, in file order; an id alone has an empty rest.

    Raises:
        MissingFileError: If there is no such file.
        DataError: If it is not UTF-8, or other white space than a space or a tab follows an id.
    """
    for number, line in text_lines(path):
        key, _, value = line.partition(" ")
        if key and key.isprintable():  # the common case, twice as fast: no white space in the id
            yield key, value.strip(" \t")
            continue
        line = line.strip(" \t")
        match = _LINE.fullmatch(line)
        if match:
            yield match[1], match[2] or ""
        elif line.strip():
            space = next(letter for letter in line if letter.isspace())
            raise DataError(
                f"{path}:{number}: U+{ord(space):04X} after the id instead of a space or a tab "
                f"({line[:40]!r})"
            )


def read_scp(path: str | Path) -> dict[str, str]:
    """Reads a table whose ids are unique, in file order.

    Raises:
        DataError: If an id is there twice, or :func:`read_lines` cannot read the file.
    """
    table: dict[str, str] = {}
    for key, value in read_lines(path):
        if key in table:
            raise DataError(f"{path}: '{key}' is there more than once; remove all but one of them")
        table[key] = value
    return table


def write_lines(path: str | Path, lines: Iterable[tuple[str, str]]) -> int:
    """Writes (id, value) lines in the order given, atomically; returns their number.

    Raises:
        DataError: If a value has a line feed.
    """
    count = 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for key, value in lines:
            if "\n" in value:
                raise DataError(f"{path}: the value of '{key}' has several lines: {value!r}")
            stream.write(f"{key} {value}\n" if value else f"{key}\n")
            count += 1
    return count


def write_scp(path: str | Path, table: Mapping[str, object]) -> int:
    """Writes a table sorted by id as ``LC_ALL=C sort`` would; returns the number of lines."""
    # code points are in the order of their UTF-8 bytes
    return write_lines(path, ((key, str(table[key])) for key in sorted(table)))


def file_stem(key: str) -> str:
    """Name, without suffix, of a file that is stored for an id: the id, if it is a plain name.

    For other ids (with a slash, a dot in front, or of more than 200 bytes) it is their readable
    part and a hash. So no file is outside its folder, and two ids never share one.

    >>> file_stem("1000268201_693b08cb0e_0")
    '1000268201_693b08cb0e_0'
    >>> file_stem("../evil")
    'evil~2d6afc710923'
    """
    if len(key.encode("utf-8", "replace")) <= _MOST_BYTES and _PLAIN_NAME.fullmatch(key):
        return key
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', key).strip('-')[:40]}~{digest}"


def part_of(table: Mapping[str, str], part: tuple[int, int] | None) -> dict[str, str]:
    """The entries of a part, in their order; all entries if the part is None.

    >>> part_of({"a": "1", "b": "2", "c": "3"}, (2, 2))
    {'b': '2', 'c': '3'}

    Raises:
        DataError: If the part is empty.
    """
    number, of = part or (1, 1)
    entries = list(table.items())[len(table) * (number - 1) // of : len(table) * number // of]
    if table and not entries:
        raise DataError(f"part {number}/{of} is empty; parts that this list makes: {len(table)}")
    return dict(entries)
