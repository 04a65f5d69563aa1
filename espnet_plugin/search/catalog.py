"""Path, state and vector row of each image of an index, in SQLite.

Paths are stored as the bytes of the file system, because not all of them are UTF-8.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.model import IndexedModel

FILE = "catalog.sqlite"
FORMAT = 1
WAIT_SECONDS = 60.0  # for another process's transaction
_PAGE = 10_000
_DISK = {  # errors that are not damage, in SQLite's words
    "database or disk is full": errno.ENOSPC,
    "attempt to write a readonly database": errno.EROFS,
    "unable to open database file": errno.EACCES,
    "disk I/O error": errno.EIO,
}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS vectors (row INTEGER PRIMARY KEY, content BLOB NOT NULL UNIQUE);

CREATE TABLE IF NOT EXISTS pictures (
    path BLOB PRIMARY KEY, stamp TEXT NOT NULL, row INTEGER, problem TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pictures_row ON pictures (row);
"""


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_model(value: Any) -> bool:
    return isinstance(value, dict) and _are_names(list(value.values()))


_SETTINGS = {
    "format": _is_count,
    "generation": _is_count,
    "dim": _is_count,
    "centered_on": _is_count,
    "approximate": lambda value: isinstance(value, bool),
    "folders": _are_names,
    "model": _is_model,
}


@dataclass(frozen=True)
class IndexedImage:
    """A file of the index.

    Attributes:
        path: Absolute.
        stamp: Its size and times when it was read.
        row: Of its vector; None if it could not be read.
        problem: What was wrong then.
    """

    path: str
    stamp: str
    row: int | None
    problem: str | None = None


class Catalog:
    """The tables of an index.

    Args:
        directory: Of the index.
        create: Make the tables if there are none.

    Raises:
        DataError: If there is no index, it is damaged, or of a newer format.
        OSError: If the disk is full or read-only, here and in every method.
    """

    def __init__(self, directory: Path, *, create: bool = False) -> None:
        self.path = directory / FILE
        if not create and not self.path.is_file():
            raise DataError(f"{directory}: no index; make one with speechclip index")
        with self._errors():
            # opening it for writing undoes a killed writer's transaction
            mode = "rwc" if create else "rw" if os.access(self.path, os.W_OK) else "ro"
            self._db = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=WAIT_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            self._db.execute(
                "PRAGMA trusted_schema = OFF"
            )  # an index from elsewhere runs no functions
            if create:
                self._db.executescript(_SCHEMA)
                self._db.execute("INSERT OR IGNORE INTO settings VALUES ('format', ?)", (FORMAT,))
            found = self.setting("format")
        if found != FORMAT:
            raise DataError(
                f"{self.path}: format {found}; this version of the package reads {FORMAT}"
            )

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, TypeError, ValueError, RecursionError) as error:
            if (code := _DISK.get(str(error))) is not None:
                raise OSError(code, os.strerror(code), str(self.path)) from error
            if "locked" in str(error):
                raise DataError(
                    f"{self.path}: another process has been writing for {WAIT_SECONDS:.0f} s; "
                    "try again"
                ) from error
            raise DataError(
                f"{self.path}: damaged ({error}); remove the index and make it again"
            ) from error

    @contextlib.contextmanager
    def transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        """All reads and writes of the block happen at once or not at all."""
        with self._errors():
            self._db.execute(f"BEGIN {kind}")
        try:
            yield
        except BaseException:
            self._db.rollback()
            raise
        with self._errors():
            self._db.execute("COMMIT")

    def setting(self, name: str, default: Any = None) -> Any:
        """A setting, checked."""
        rows = self._all("SELECT value FROM settings WHERE name = ?", (name,))
        with self._errors():
            value = json.loads(rows[0][0]) if rows else default
            if value is not None and not _SETTINGS[name](value):
                raise ValueError(f"{name} is {str(value)[:40]!r}")  # it becomes part of a name
        return value

    def set(self, name: str, value: Any) -> None:
        """Stores a setting."""
        self._all("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._errors():
            return self._db.execute(query, values).fetchall()

    def forget_images(self) -> None:
        """Forgets all images and vectors."""
        self._all("DELETE FROM pictures")
        self._all("DELETE FROM vectors")

    def vectors(self) -> int:
        """Number of rows, including those of removed images."""
        return int(self._all("SELECT coalesce(max(row) + 1, 0) FROM vectors")[0][0])

    def live_vectors(self) -> int:
        """Number of rows with an image."""
        return int(self._all("SELECT count(DISTINCT row) FROM pictures")[0][0])

    def model(self) -> IndexedModel | None:
        """The model that made the embeddings; None before the first run."""
        made_by = self.setting("model")
        with self._errors():
            return IndexedModel(**made_by) if made_by else None

    def counts(self) -> tuple[int, int]:
        """Number of images that can be found, and of those that could not be read."""
        good, bad = self._all("SELECT count(row), count(problem) FROM pictures")[0]
        return int(good), int(bad)

    def image(self, path: str) -> IndexedImage | None:
        """The entry of a file, if there is one."""
        found = self._images("WHERE path = ?", (os.fsencode(path),))
        return found[0] if found else None

    def put(self, image: IndexedImage) -> None:
        """Adds an image or replaces its entry."""
        values = (os.fsencode(image.path), image.stamp, image.row, image.problem)
        self._all("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?)", values)

    def remove(self, path: str) -> None:
        """Forgets an image; its vector stays until the index is compacted."""
        self._all("DELETE FROM pictures WHERE path = ?", (os.fsencode(path),))

    def row_of(self, content: bytes) -> int | None:
        """Row of an image's content, whatever its name."""
        rows = self._all("SELECT row FROM vectors WHERE content = ?", (content,))
        return int(rows[0][0]) if rows else None

    def add_vector(self, row: int, content: bytes) -> None:
        """Gives a row to a content."""
        self._all("INSERT INTO vectors VALUES (?, ?)", (row, content))

    def under(self, folder: str) -> Iterator[IndexedImage]:
        """The images below a folder, in the order of their paths."""
        prefix = os.fsencode(folder.rstrip(os.sep) + os.sep)
        end, last = prefix[:-1] + bytes([prefix[-1] + 1]), prefix
        query = f"WHERE path > ? AND path < ? ORDER BY path LIMIT {_PAGE}"
        while found := self._images(query, (last, end)):  # pages: others may write between them
            yield from found
            last = os.fsencode(found[-1].path)

    def problems(self) -> list[IndexedImage]:
        """The images that could not be read."""
        return self._images("WHERE problem IS NOT NULL ORDER BY path")

    def _images(self, which: str, values: Sequence[Any] = ()) -> list[IndexedImage]:
        rows = self._all(f"SELECT path, stamp, row, problem FROM pictures {which}", values)
        with self._errors():
            return [
                IndexedImage(os.fsdecode(path), str(stamp), row, problem)
                for path, stamp, row, problem in rows
            ]

    def of_row(self, row: int) -> list[IndexedImage]:
        """The files with that row, sorted; none if they were removed."""
        return self._images("WHERE row = ? ORDER BY path", (row,))

    def renumber(self) -> Iterator[list[int]]:
        """Forgets the vectors without an image and numbers the others from 0 on.

        Yields:
            The old rows, in blocks, in the order of the new ones.
        """
        self._all("DELETE FROM vectors WHERE row NOT IN (SELECT row FROM pictures WHERE row >= 0)")
        done, last = 0, -1
        query = f"SELECT row FROM vectors WHERE row > ? ORDER BY row LIMIT {_PAGE}"
        while block := [row for (row,) in self._all(query, (last,))]:
            # upwards: a new number is never above the old, so it is free already
            for new, old in enumerate(block, done):
                self._all("UPDATE pictures SET row = ? WHERE row = ?", (new, old))
                self._all("UPDATE vectors SET row = ? WHERE row = ?", (new, old))
            yield block
            done, last = done + len(block), block[-1]
