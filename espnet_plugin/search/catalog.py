"""Path, state and vector row of each image of an index, in SQLite.

Paths are stored as the bytes of the file system, because not all of them are UTF-8.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from espnet_plugin.data.scp import DataError

FILE = "catalog.sqlite"
FORMAT = 2
WAIT_SECONDS = 60.0  # for another process's transaction
_SCHEMA = f"""
BEGIN;
CREATE TABLE IF NOT EXISTS state (json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS vectors (row INTEGER PRIMARY KEY, content BLOB NOT NULL UNIQUE);

CREATE TABLE IF NOT EXISTS pictures (
    path BLOB PRIMARY KEY, stamp TEXT NOT NULL, row INTEGER, problem TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pictures_row ON pictures (row);
PRAGMA user_version = {FORMAT};
COMMIT;
"""


@dataclass
class State:
    """What holds for a whole index.

    Attributes:
        model: Name of the model that made the vectors; empty before the first run.
        fingerprint: Of its weights.
        folders: That were indexed.
        generation: Number of the file of vectors; every compaction begins a new one.
        dim: Of a vector; 0 before the first.
        coded: Number of vectors with a code; 0: searches are exact.
    """

    model: str = ""
    fingerprint: str = ""
    folders: list[str] = field(default_factory=list)
    generation: int = 0
    dim: int = 0
    coded: int = 0


class Catalog:
    """The tables of an index.

    Args:
        directory: Of the index.
        create: Make the tables if there are none.

    Raises:
        DataError: If there is no index, it is damaged or of another format, the disk is full or
            read-only, here and in every method.
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
            # an index from elsewhere runs no functions
            self._db.execute("PRAGMA trusted_schema = OFF")
            new = not self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            if create and new:
                self._db.executescript(_SCHEMA)
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found != FORMAT:
            raise DataError(
                f"{self.path}: format {found}, but this version of the package reads {FORMAT}; "
                "remove the index and make it again"
            )

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, TypeError, ValueError, RecursionError) as error:
            raise DataError(
                f"{self.path}: {error}. Try again; if it is damaged, remove the index and make it "
                "again"
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

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._errors():
            return self._db.execute(query, values).fetchall()

    def state(self) -> State:
        """What holds for the whole index, checked."""
        rows = self._all("SELECT json FROM state")
        with self._errors():
            state = State(**json.loads(rows[0][0])) if rows else State()
            for each in fields(State):
                value = getattr(state, each.name)
                kind = list if each.name == "folders" else type(each.default)
                if type(value) is not kind:  # it becomes part of a file's name
                    raise TypeError(f"{each.name} is {str(value)[:40]!r}")
            if not all(isinstance(folder, str) for folder in state.folders):
                raise TypeError("folders are not names")
        return state

    def set_state(self, state: State) -> None:
        """Stores what holds for the whole index."""
        self._all("DELETE FROM state")
        self._all("INSERT INTO state VALUES (?)", (json.dumps(vars(state)),))

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

    def __len__(self) -> int:
        """Number of images that can be found."""
        return int(self._all("SELECT count(row) FROM pictures")[0][0])

    def problems(self) -> list[str]:
        """What is wrong with the images that could not be read."""
        query = "SELECT problem FROM pictures WHERE problem IS NOT NULL ORDER BY path"
        return [str(problem) for (problem,) in self._all(query)]

    def stamp(self, path: str) -> str | None:
        """The stamp of a file when it was read; None if it is not in the index."""
        rows = self._all("SELECT stamp FROM pictures WHERE path = ?", (os.fsencode(path),))
        return rows[0][0] if rows else None

    def put(self, path: str, stamp: str, row: int | None, problem: str | None = None) -> None:
        """Adds an image or replaces its entry.

        Args:
            path: Absolute.
            stamp: Size and times when it was read; empty if it could not be read.
            row: Of its vector; None if it could not be read.
            problem: What was wrong then.
        """
        values = (os.fsencode(path), stamp, row, problem)
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

    def under(self, folder: str) -> Iterator[str]:
        """The images below a folder; nothing may be written meanwhile."""
        prefix = os.fsencode(folder.rstrip(os.sep) + os.sep)
        end = prefix[:-1] + bytes([prefix[-1] + 1])
        query = "SELECT path FROM pictures WHERE path > ? AND path < ?"
        with self._errors():
            for (path,) in self._db.execute(query, (prefix, end)):
                yield os.fsdecode(path)

    def of_row(self, row: int) -> list[tuple[str, str]]:
        """Path and stamp of the images with that row, sorted; none if they were removed."""
        found = self._all("SELECT path, stamp FROM pictures WHERE row = ? ORDER BY path", (row,))
        with self._errors():
            return [(os.fsdecode(path), stamp) for path, stamp in found]

    def renumber(self) -> list[int]:
        """Forgets the vectors without an image and numbers the others from 0 on.

        Returns:
            The old rows in the order of the new ones.
        """
        self._all("DELETE FROM vectors WHERE row NOT IN (SELECT row FROM pictures WHERE row >= 0)")
        rows = [row for (row,) in self._all("SELECT row FROM vectors ORDER BY row")]
        # upwards: a new number is never above the old, so it is free already
        for new, old in enumerate(rows):
            self._all("UPDATE pictures SET row = ? WHERE row = ?", (new, old))
            self._all("UPDATE vectors SET row = ? WHERE row = ?", (new, old))
        return rows
