"""Files of an index, and the vectors of their contents, in SQLite.

Paths are stored as the bytes of the file system, because not all of them are UTF-8.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from espnet_plugin.data.words import SpokenWord
from espnet_plugin.utils.errors import DataError

FILE = "catalog.sqlite"
FORMAT = 5
WAIT_SECONDS = 60.0  # for another process's transaction
# what SQLite says of an index that is whole
_ADVICE = {
    "readonly": "The index cannot be written; ask its owner, or make one elsewhere",
    "unable to open": "The index cannot be opened; look at the permissions of its folder",
    "full": "The disk is full; free some space and start again, what is finished is kept",
    "disk I/O": "The disk fails, or is full; start again when it works, what is finished is kept",
    "locked": "Another process uses the index; try again",
}
_SCHEMA = f"""
BEGIN;
CREATE TABLE IF NOT EXISTS state (json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS vectors (
    row INTEGER PRIMARY KEY, content BLOB NOT NULL, start REAL, end REAL, words TEXT
);

CREATE INDEX IF NOT EXISTS vectors_content ON vectors (content);

CREATE INDEX IF NOT EXISTS windows ON vectors (row) WHERE start IS NOT NULL;

CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, stamp TEXT NOT NULL, content BLOB, problem TEXT
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS files_content ON files (content);
PRAGMA user_version = {FORMAT};
COMMIT;
"""


class Window(NamedTuple):
    """What a vector represents: a window of a recording, or a whole image.

    Attributes:
        start: Second at which the window begins, or None for an image.
        end: Second at which the window ends, or None for an image.
        words: Keywords of the window, with their times in the recording.
    """

    start: float | None = None
    end: float | None = None
    words: tuple[SpokenWord, ...] = ()


@dataclass
class State:
    """What holds for a whole index.

    Attributes:
        model: Name of the model that made the vectors; empty before the first run.
        fingerprint: Fingerprint of the model, see :func:`model_fingerprint`.
        min_score: Lowest score of the words of its recordings.
        folders: Folders that were indexed.
        dim: Dimension of a vector; 0 before the first.
    """

    model: str = ""
    fingerprint: str = ""
    min_score: float | None = None
    folders: list[str] = field(default_factory=list)
    dim: int = 0


class Catalog:
    """The tables of an index.

    Args:
        directory: Directory of the index.
        create: Whether to make the tables if there are none.

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
            options: Any = {"isolation_level": None, "check_same_thread": False, "uri": True}
            uri = f"{self.path.absolute().as_uri()}?mode={mode}"
            self._db = sqlite3.connect(uri, timeout=WAIT_SECONDS, **options)
            weakref.finalize(self, self._db.close)
            # a writer locks readers out only while it commits, however much it changes
            self._db.execute("PRAGMA cache_spill = OFF")
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
            advice = next(
                (advice for cause, advice in _ADVICE.items() if cause in str(error)), None
            )
            advice = advice or "The index is damaged; remove it and make it again"
            raise DataError(f"{self.path}: {error}. {advice}") from error

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
        """Reads and checks what holds for the whole index."""
        rows = self._all("SELECT json FROM state")
        with self._errors():
            state = State(**json.loads(rows[0][0])) if rows else State()
            for each in fields(State):
                value = getattr(state, each.name)
                kind = {"folders": list, "min_score": float}.get(each.name, type(each.default))
                if type(value) is not kind and (value, each.name) != (None, "min_score"):
                    raise TypeError(f"{each.name} is {str(value)[:40]!r}")
            if not all(isinstance(folder, str) for folder in state.folders):
                raise TypeError("folders are not names")
        return state

    def set_state(self, state: State) -> None:
        """Stores what holds for the whole index."""
        self._all("DELETE FROM state")
        self._all("INSERT INTO state VALUES (?)", (json.dumps(vars(state)),))

    def forget_files(self) -> None:
        """Forgets all files and vectors."""
        self._all("DELETE FROM files")
        self._all("DELETE FROM vectors")

    def vectors(self) -> int:
        """Number of rows, including those of removed files."""
        return int(self._all("SELECT coalesce(max(row) + 1, 0) FROM vectors")[0][0])

    def windows(self, rows: int) -> np.ndarray:
        """Whether each of the first rows is of a recording, (rows,)."""
        query = "SELECT row FROM vectors WHERE start IS NOT NULL AND row >= 0 AND row < ?"
        found = np.zeros(rows, bool)
        with self._errors():
            new = self._db.execute(query, (rows,))
            found[np.fromiter((row for (row,) in new), np.int64)] = True
        return found

    def counts(self) -> tuple[int, int, int, float]:
        """Numbers of images, recordings, their windows, and hours of speech in these."""
        found = self._all("SELECT count(content) FROM files")[0][0]
        query = (
            "SELECT count(DISTINCT path), count(*), coalesce(sum(end - start), 0) / 3600 "
            "FROM vectors CROSS JOIN files USING (content) WHERE start IS NOT NULL"
        )
        recordings, windows, hours = self._all(query)[0]
        return found - recordings, recordings, windows, hours

    def problems(self) -> dict[str, str]:
        """What was wrong with each file that could not be read, by its path."""
        query = "SELECT path, problem FROM files WHERE problem IS NOT NULL ORDER BY path"
        return {os.fsdecode(path): str(problem) for path, problem in self._all(query)}

    def stamp(self, path: str) -> str | None:
        """The stamp of a file when it was read, or None if it is not in the index."""
        rows = self._all("SELECT stamp FROM files WHERE path = ?", (os.fsencode(path),))
        return rows[0][0] if rows else None

    def put(self, path: str, stamp: str, content: bytes | None, problem: str | None = None) -> None:
        """Adds a file or replaces its entry.

        Args:
            path: Absolute path of the file.
            stamp: Size and times when it was read; empty if it could not be read.
            content: Hash of its content, which has vectors, or None if it could not be read.
            problem: What was wrong if it could not be read.
        """
        values = (os.fsencode(path), stamp, content, problem)
        self._all("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", values)

    def remove(self, path: str) -> None:
        """Forgets a file; its vectors stay, because it may come back."""
        self._all("DELETE FROM files WHERE path = ?", (os.fsencode(path),))

    def has_vectors(self, content: bytes, *, windows: bool) -> bool:
        """Whether a content has vectors of a recording's windows, or else of an image."""
        query = "SELECT 1 FROM vectors WHERE content = ? AND (start IS NOT NULL) = ? LIMIT 1"
        return bool(self._all(query, (content, windows)))

    def add_vector(self, row: int, content: bytes, window: Window) -> None:
        """Gives a row to a window of a content."""
        words = json.dumps([vars(word) for word in window.words])
        values = (row, content, window.start, window.end, words)
        self._all("INSERT INTO vectors VALUES (?, ?, ?, ?, ?)", values)

    def under(self, folder: str) -> Iterator[str]:
        """The files below a folder; nothing may be written meanwhile."""
        prefix = os.fsencode(folder.rstrip(os.sep) + os.sep)
        end = prefix[:-1] + bytes([prefix[-1] + 1])
        query = "SELECT path FROM files WHERE path > ? AND path < ?"
        with self._errors():
            for (path,) in self._db.execute(query, (prefix, end)):
                yield os.fsdecode(path)

    def of_row(self, row: int) -> list[tuple[str, str, Window]]:
        """Path, stamp and window of the files with that row, sorted; none if they were removed."""
        query = (
            "SELECT path, stamp, start, end, words FROM vectors JOIN files USING (content) "
            "WHERE row = ? ORDER BY path"
        )
        found = self._all(query, (row,))
        with self._errors():
            return [(os.fsdecode(path), stamp, window_of(*rest)) for path, stamp, *rest in found]

    def recordings(self) -> Iterator[tuple[str, str, list[SpokenWord]]]:
        """Path, stamp and words of each recording, sorted; nothing may be written meanwhile."""
        query = (
            "SELECT path, stamp, start, end, words FROM files JOIN vectors USING (content) "
            "WHERE start IS NOT NULL ORDER BY path, row"
        )
        with self._errors():
            for (path, stamp), rows in groupby(self._db.execute(query), itemgetter(0, 1)):
                words = [word for _, _, *rest in rows for word in window_of(*rest).words]
                yield os.fsdecode(path), stamp, words


def window_of(start: Any, end: Any, words: str) -> Window:
    """A window as it was stored; raises TypeError or ValueError if it is none."""
    found = tuple(SpokenWord(**each) for each in json.loads(words))
    numbers = [each.score for each in found]
    numbers += [time for each in found for time in (each.start, each.end) if time is not None]
    if not (
        all(isinstance(each.word, str) for each in found)
        and all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers)
    ):
        raise TypeError(f"{words[:40]!r} are not keywords")
    if start is None:
        return Window(words=found)
    if not 0 <= start <= end < math.inf:
        raise ValueError(f"a window from {start} to {end} s")
    return Window(float(start), float(end), found)
