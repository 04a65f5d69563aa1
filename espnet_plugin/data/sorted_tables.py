"""Two-column files that are read side by side, a line of each at a time.

A corpus of half a million recordings is worked on without holding it in memory: its files are in
the order of ``LC_ALL=C sort``, and what belongs together comes by at the same time.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from espnet_plugin.data.scp import DuplicateIdError, read_lines, write_lines


def is_sorted(path: Path) -> bool:
    """Whether the ids rise from line to line; the same id on neighbouring lines is let pass."""
    previous = b""
    for key, _ in read_lines(path):
        current = key.encode("utf-8")
        if current < previous:
            return False
        previous = current
    return True


def sort_file(path: Path, *, unique: bool = False) -> None:
    """Sorts a file by id as ``LC_ALL=C sort`` does, on disk; equal ids stay in their order.

    Args:
        path: The file.
        unique: Keep one of several equal lines.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.sorted")
    # ids hold no character below the space, so whole lines sort as their ids do
    how = ["-u"] if unique else ["-s", "-k", "1,1"]
    command = ["sort", *how, "-S", "64M", "-T", str(path.parent)]
    try:
        subprocess.run(
            [*command, "-o", str(partial), str(path)],
            check=True,
            env={**os.environ, "LC_ALL": "C"},
        )
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def in_order(path: Path) -> Iterator[Path]:
    """The file itself when it is sorted, else a sorted copy that exists for the while.

    An id that stands twice is reported with its lines in the file itself.
    """
    if is_sorted(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="sorted-") as directory:
        copy = Path(directory) / path.name
        write_lines(copy, read_lines(path))
        sort_file(copy)
        try:
            yield copy
        except DuplicateIdError as error:
            raise (DuplicateIdError(path, error.key) if error.path == copy else error) from None


def read_sorted(path: Path) -> Iterator[tuple[str, str]]:
    """Yields (id, rest of the line) of a sorted file whose ids are unique.

    Raises:
        DuplicateIdError: An id stands there twice.
    """
    previous = None
    for key, value in read_lines(path):
        if key == previous:
            raise DuplicateIdError(path, key)
        previous = key
        yield key, value


def side_by_side(paths: Sequence[Path]) -> Iterator[tuple[str, list[str | None]]]:
    """Yields each id that any file has with what stands there in each; None where it lacks.

    Args:
        paths: Sorted files with unique ids.
    """
    readers = [read_sorted(path) for path in paths]
    heads = [next(reader, None) for reader in readers]
    while any(head is not None for head in heads):
        key = min((head[0] for head in heads if head is not None), key=str.encode)
        values: list[str | None] = []
        for place, head in enumerate(heads):
            if head is not None and head[0] == key:
                values.append(head[1])
                heads[place] = next(readers[place], None)
            else:
                values.append(None)
        yield key, values


def groups(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields (id, all rests of lines with that id) of a sorted file."""
    current: str | None = None
    values: list[str] = []
    for key, value in read_lines(path):
        if current is not None and key != current:
            yield current, values
            values = []
        current = key
        values.append(value)
    if current is not None:
        yield current, values
