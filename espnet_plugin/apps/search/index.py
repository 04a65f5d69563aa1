"""Search an index of images and recordings by a vector.

Only files that have not changed since they were indexed are returned. That includes the inode's
time of change, which nobody else can know or set: an index from somebody else cannot return a file
of this machine.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from espnet_plugin.apps.search.catalog import FILE, Catalog
from espnet_plugin.apps.search.model import IndexedModel, check_model, identify_model
from espnet_plugin.apps.search.vectors import FILE as VECTORS_FILE
from espnet_plugin.apps.search.vectors import cosines, read_rows
from espnet_plugin.data.words import SpokenWord
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.hashing import inode_stamp
from espnet_plugin.utils.progress import counted

TOP = 10
WIDEN = 4


@dataclass(frozen=True)
class Hit:
    """A search result: an image, or a window of a recording.

    Attributes:
        path: Path of the file.
        score: Cosine between its embedding and the query.
        start: Second at which the window begins, or None for an image.
        end: Second at which it ends, or None for an image.
        words: Keywords of the window, with their times in the recording.
    """

    path: str
    score: float
    start: float | None = None
    end: float | None = None
    words: tuple[SpokenWord, ...] = ()


class Index:
    """An index, open for reading; the next search sees what another process adds.

    Example:
        >>> index = Index("holiday.index")
        >>> index.search(model.encode_speech("question.wav")[0], top=5)

    Args:
        directory: Directory that ``speechclip index`` made.

    Raises:
        DataError: If there is no index, or it is damaged.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self._catalog = Catalog(self.directory)
        self._read: tuple[int, ...] = ()
        self._vectors = np.empty((0, 0), np.float32)
        self._recorded = np.empty(0, bool)  # whether a vector is of a recording, (rows,)
        with self._catalog.transaction("DEFERRED"):
            self._refresh()

    def __len__(self) -> int:
        """Number of files that can be found."""
        return sum(self.counts()[:2])

    def counts(self) -> tuple[int, int, int, float]:
        """Numbers of images, recordings, their windows, and hours of speech in these."""
        return self._catalog.counts()

    @property
    def model(self) -> IndexedModel:
        """The model of the index.

        Raises:
            DataError: If nothing was indexed yet.
        """
        state = self._catalog.state()
        if not state.model:
            raise DataError(f"{self.directory}: nothing was indexed yet; run speechclip index")
        return IndexedModel(state.model, state.fingerprint, state.min_score)

    def model_at_hand(self, name: str | None) -> IndexedModel:
        """The model of that name, which must be the index's, or by default the index's own.

        Raises:
            DataError: If it is another model, or nothing was indexed yet.
            FileNotFoundError: If there is no such model.
        """
        model = identify_model(name or self.model.name)
        check_model(self.directory, self.model, model)
        return model

    def describe(self) -> dict[str, Any]:
        """What the index holds, for JSON."""
        names = ("images", "recordings", "windows", "hours")
        with self._catalog.transaction("DEFERRED"):
            state = self._catalog.state()
            return {
                "index": str(self.directory),
                **dict(zip(names, self.counts(), strict=True)),
                "model": self.model.name,
                "fingerprint": state.fingerprint,
                "folders": state.folders,
                "bytes": sum(path.stat().st_size for path in self.directory.glob("[!.]*")),
                "unreadable": list(self._catalog.problems().values()),
            }

    def problems(self) -> dict[str, str]:
        """What was wrong with each file that could not be read, by its path."""
        return self._catalog.problems()

    def spoken_words(self) -> Iterator[tuple[str, list[SpokenWord] | None]]:
        """Yields each recording, sorted, with its words; None if it changed since it was indexed.

        Raises:
            DataError: If the index is damaged.
        """
        with self._catalog.transaction("DEFERRED"):
            for path, stamp, words in self._catalog.recordings():
                yield path, words if stamp == inode_stamp(path) else None

    def search(
        self,
        query: np.ndarray,
        *,
        top: int = TOP,
        kind: Literal["image", "recording"] | None = None,
    ) -> list[Hit]:
        """What is nearest to a query, best first; equal scores in the order of the paths.

        The query is compared with every vector, which takes 0.3 s for a million on two cores. Do
        not compare the scores of images with those of recordings.

        Args:
            query: Vector of the query, (dim,), of any length but zero.
            top: Largest number of results.
            kind: Whether to find only images, or only windows of recordings; by default both.

        Raises:
            ValueError: If the query is of another dimension, zero or not finite.
        """
        with self._catalog.transaction("DEFERRED"):  # writers wait until it ends
            self._refresh()
            dim = self._vectors.shape[1] if len(self._vectors) else len(query)
            query = unit_query(query, dim, self.directory)
            others = {"image": self._recorded, "recording": ~self._recorded}
            unwanted = others.get(kind or "", np.zeros(len(self._vectors), bool))
            wanted = len(unwanted) - int(unwanted.sum())
            fetch = top
            while True:
                hits, changed = self._hits(*nearest_rows(query, self._vectors, fetch, unwanted))
                if len(hits) >= top or fetch >= wanted:
                    break
                fetch *= WIDEN  # files of some vectors are gone or changed
        if changed:
            logging.warning(
                f"{counted(changed, 'file')} left out: gone, changed or copied since indexed; "
                f"run speechclip index DIR --index {self.directory}"
            )
        hits.sort(key=lambda hit: (-hit.score, hit.path, hit.start or 0))
        return hits[:top]

    def _refresh(self) -> None:
        """Opens the vectors again if they have changed."""
        dim = self._catalog.state().dim
        rows = self._catalog.vectors() if dim else 0  # no file was readable so far
        path = self.directory / VECTORS_FILE
        # the file of an index that was made again is another one
        read = (path.stat().st_ino if path.exists() else 0, rows, dim)
        if read != self._read:
            self._vectors = read_rows(path, rows=rows, dim=dim)
            self._recorded = self._catalog.windows(rows)
            self._read = read

    def _hits(self, rows: np.ndarray, scores: np.ndarray) -> tuple[list[Hit], int]:
        """The files of rows that are as they were, and the number of the others."""
        found = [
            (Hit(path, float(score), *window), stamp == inode_stamp(path))
            for row, score in zip(rows.tolist(), scores, strict=True)
            for path, stamp, window in self._catalog.of_row(row)
        ]
        hits = [hit for hit, unchanged in found if unchanged]
        return hits, len(found) - len(hits)


def unit_query(query: np.ndarray, dim: int, name: object) -> np.ndarray:
    """A query at unit length, (dim,); raises ValueError if it does not fit what is searched."""
    if query.shape != (dim,):
        raise ValueError(
            f"the query has shape {query.shape}; {name} holds vectors of {dim} numbers"
        )
    length = np.linalg.norm(query)
    if not np.isfinite(length) or length == 0:
        raise ValueError("the query is zero or not finite")
    return np.ascontiguousarray(query / length, np.float32)


def nearest_rows(
    query: np.ndarray, vectors: np.ndarray, number: int, unwanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the nearest to a query (dim,) and of all as near as the last, with their scores."""
    if unwanted.all():
        return np.empty(0, np.int64), np.empty(0, np.float32)
    scores = cosines(vectors, query)
    scores[unwanted] = -np.inf
    first = max(0, len(scores) - number, int(unwanted.sum()))
    rows = np.flatnonzero(scores >= np.partition(scores, first)[first])
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    return rows, scores[rows]


def is_index(directory: str | Path) -> bool:
    """Whether a folder holds an index."""
    return os.path.isfile(Path(directory) / FILE)  # False without permission, too
