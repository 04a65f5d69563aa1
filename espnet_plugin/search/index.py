"""Search an index of images by a vector.

Only files that have not changed since they were indexed are returned. That includes the inode's
time of change, which nobody else can know or set: an index from a stranger cannot return a file of
this machine.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.approximate import CANDIDATES, candidates, codes_file, read_codes
from espnet_plugin.search.catalog import FILE, Catalog
from espnet_plugin.search.folders import stamp_of
from espnet_plugin.search.model import IndexedModel, check_model, identify_model
from espnet_plugin.search.vectors import read_rows, vectors_file

TOP = 10
WIDEN = 4


@dataclass(frozen=True)
class Hit:
    """A search result.

    Attributes:
        path: The file.
        score: Cosine between its embedding and the query.
    """

    path: str
    score: float


class ImageIndex:
    """An index, open for reading; the next search sees what another process adds.

    Example:
        >>> index = ImageIndex("holiday.index")
        >>> index.search(model.encode_speech("question.wav")[0], top=5)

    Args:
        directory: Made by ``speechclip index``.
        candidates: Number of vectors that an approximate index compares exactly; more find more.

    Raises:
        DataError: If there is no index, or it is damaged.
    """

    def __init__(self, directory: str | Path, *, candidates: int = CANDIDATES) -> None:
        self.directory = Path(directory)
        self.candidates = candidates
        self._catalog = Catalog(self.directory)
        self._read: tuple[int, ...] = ()
        self._vectors = np.empty((0, 0), np.float32)
        self._codes: Any = None
        with self._catalog.transaction("DEFERRED"):
            self._refresh()

    def __len__(self) -> int:
        """Number of images that can be found."""
        return len(self._catalog)

    @property
    def model(self) -> IndexedModel:
        """The model of the index.

        Raises:
            DataError: If nothing was indexed yet.
        """
        state = self._catalog.state()
        if not state.model:
            raise DataError(f"{self.directory}: nothing was indexed yet; run speechclip index")
        return IndexedModel(state.model, state.fingerprint)

    def model_at_hand(self, name: str | None) -> IndexedModel:
        """The model of that name, which must be the index's; None: the one that made the index.

        Raises:
            DataError: If it is another one, or nothing was indexed yet.
            FileNotFoundError: If there is no such model.
        """
        model = identify_model(name or self.model.name)
        check_model(self.directory, self._catalog.state(), model)
        return model

    def describe(self) -> dict[str, Any]:
        """What the index holds, for JSON."""
        state = self._catalog.state()
        return {
            "index": str(self.directory),
            "pictures": len(self),
            "approximate": state.coded > 0,
            "model": self.model.name,
            "fingerprint": state.fingerprint,
            "folders": state.folders,
            "bytes": sum(path.stat().st_size for path in self.directory.iterdir()),
            "unreadable": self._catalog.problems(),
        }

    def search(self, query: np.ndarray, *, top: int = TOP, exact: bool = False) -> list[Hit]:
        """The images nearest to a query, best first; equal scores in the order of the paths.

        Scores are exact in any case; an approximate index can miss a near image.

        Args:
            query: (dim,), of any length but zero.
            top: How many at most.
            exact: Compare with every vector, also in an approximate index.

        Raises:
            ValueError: If the query is of another dimension, zero or not finite.
        """
        with self._catalog.transaction("DEFERRED"):  # writers wait until it ends
            self._refresh()
            query = self._checked(query)
            fetch = top
            while True:
                hits = self._hits(*self._nearest(query, fetch, exact=exact))
                if len(hits) >= top or fetch >= len(self._vectors):
                    return sorted(hits, key=lambda hit: (-hit.score, hit.path))[:top]
                fetch *= WIDEN  # images of some vectors are gone or changed

    def _refresh(self) -> None:
        """Opens the files again if they have changed."""
        state, rows = self._catalog.state(), self._catalog.vectors()
        read = (state.generation, rows, state.coded)
        if read == self._read or not state.dim:  # without one, no image was readable so far
            return
        path = vectors_file(self.directory, state.generation)
        self._vectors = read_rows(path, rows=rows, dim=state.dim)
        self._codes = None
        if state.coded:
            path = codes_file(self.directory, state.generation, state.coded)
            self._codes = read_codes(path, rows=min(rows, state.coded), dim=state.dim)
        self._read = read

    def _checked(self, query: np.ndarray) -> np.ndarray:
        """The query at unit length, (1, dim)."""
        if len(self._vectors) and query.shape != self._vectors.shape[1:]:
            raise ValueError(
                f"the query has shape {query.shape}; {self.directory} holds vectors of "
                f"{self._vectors.shape[1]} numbers"
            )
        length = np.linalg.norm(query)
        if not np.isfinite(length) or length == 0:
            raise ValueError("the query is zero or not finite")
        return np.ascontiguousarray(query / length, np.float32)[None]

    def _nearest(
        self, query: np.ndarray, number: int, *, exact: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows and their scores, best first."""
        if exact or self._codes is None:
            return _exactly(query, self._vectors, number)
        first = candidates(self._codes, query, max(self.candidates, WIDEN * number))
        coded = self._codes.ntotal
        # an update that runs now, or was killed, adds vectors without codes
        last = coded + _exactly(query, self._vectors[coded:], number)[0]
        rows = np.concatenate([first, last])
        scores = self._vectors[rows] @ query[0]
        best = np.argsort(-scores, kind="stable")[:number]
        return rows[best], scores[best]

    def _hits(self, rows: np.ndarray, scores: np.ndarray) -> list[Hit]:
        found = [
            (Hit(path, float(score)), stamp == stamp_of(path))
            for row, score in zip(rows.tolist(), scores, strict=True)
            for path, stamp in self._catalog.of_row(row)
        ]
        changed = sum(not unchanged for _, unchanged in found)
        if changed:
            logging.warning(
                f"{changed} images are left out: gone, changed or copied since they were indexed; "
                f"run speechclip index DIR --index {self.directory}"
            )
        return [hit for hit, unchanged in found if unchanged]


def _exactly(query: np.ndarray, vectors: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the nearest and their scores, best first."""
    if not len(vectors):
        return np.empty(0, np.int64), np.empty(0, np.float32)
    scores = vectors @ query[0]
    first = max(0, len(scores) - number)
    rows = np.argpartition(scores, first)[first:] if first else np.arange(len(scores))
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    return rows, scores[rows]


def is_index(directory: str | Path) -> bool:
    """Whether a folder holds an index."""
    return (Path(directory) / FILE).is_file()
