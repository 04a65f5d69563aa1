"""A short code for each vector, for a quick scan of millions.

The codes are faiss' RaBitQ (https://arxiv.org/abs/2405.12497): one bit for each dimension of the
difference between a vector and the center of all. A scan of the codes proposes candidates, and
their exact scores decide. faiss' own file format is never read, because a malicious file could run
code: codes and center are plain arrays, and every byte is a valid code.
"""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from espnet_plugin.search.vectors import GrowingArray, read_rows
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.progress import progress

AUTOMATIC = 1_000_000  # images from which on an index is searched approximately
CANDIDATES = 4000
CENTER_ROWS = 100_000
GROWTH = 2  # of the vectors, after which the codes are made again around a new center
BLOCK = 16_384


class Codes:
    """The codes of an index's first vectors, in memory.

    Args:
        directory: Of the index.
        generation: Of its vectors.
        centered_on: Number of vectors at the time of the center.
        dim: Of a vector.

    Raises:
        DataError: If a file is missing or damaged.
    """

    def __init__(self, directory: Path, *, generation: int, centered_on: int, dim: int) -> None:
        codes_file, center_file = _files(directory, generation, centered_on)
        self._coder = _coder(read_rows(center_file, width=dim)[0])
        codes = read_rows(codes_file, width=self._coder.code_size, dtype="|u1")
        self._coder.add_sa_codes(np.ascontiguousarray(codes))

    def __len__(self) -> int:
        """Number of vectors with a code."""
        return int(self._coder.ntotal)

    def candidates(self, query: np.ndarray, number: int) -> np.ndarray:
        """Rows that are probably among the nearest to a query (1, dim), ascending."""
        rows = self._coder.search(query, min(number, len(self)))[1][0]
        return np.sort(rows[rows >= 0])


def update_codes(
    directory: Path, vectors: np.ndarray, *, generation: int, centered_on: int | None
) -> int:
    """Makes missing codes; those of a killed run are kept.

    Args:
        directory: Of the index.
        vectors: All of the index, (rows, dim).
        generation: Of the vectors.
        centered_on: Number of vectors at the time of the center; None: no codes yet.

    Returns:
        The new ``centered_on``; the codes count once the catalog has it.
    """
    if centered_on is None or len(vectors) >= GROWTH * centered_on:
        centered_on = len(vectors)
    codes_file, center_file = _files(directory, generation, centered_on)
    if not center_file.is_file():
        sample = vectors[:: max(1, len(vectors) // CENTER_ROWS)]
        with atomic_path(center_file) as temporary:
            GrowingArray(temporary, width=vectors.shape[1]).append(sample.mean(axis=0)[None])
    coder = _coder(read_rows(center_file, width=vectors.shape[1])[0])
    codes = GrowingArray(codes_file, width=coder.code_size, dtype="|u1")
    starts = range(codes.rows, len(vectors), BLOCK)
    for start in progress(starts, description="codes", unit="block"):
        codes.append(coder.sa_encode(np.ascontiguousarray(vectors[start : start + BLOCK])))
    return centered_on


def remove_other_codes(directory: Path, *, generation: int, centered_on: int | None) -> None:
    """Removes the files of earlier generations and centers, and those of killed runs."""
    kept = set() if centered_on is None else set(_files(directory, generation, centered_on))
    for pattern in ("codes-*.npy", "center-*.npy", ".center-*.part.npy"):
        for path in directory.glob(pattern):
            if path not in kept:
                path.unlink()


def import_faiss() -> ModuleType:
    """The library that finds near vectors.

    Raises:
        ImportError: With the command that installs it.
    """
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            f"search needs faiss ({error}): pip install faiss-cpu (extra: search)"
        ) from error
    return faiss


def _files(directory: Path, generation: int, centered_on: int) -> tuple[Path, Path]:
    name = f"{generation}-{centered_on}.npy"
    return directory / f"codes-{name}", directory / f"center-{name}"


def _coder(center: np.ndarray) -> Any:
    faiss = import_faiss()
    coder = faiss.IndexRaBitQ(len(center), faiss.METRIC_INNER_PRODUCT)
    faiss.copy_array_to_vector(np.array(center, np.float32), coder.center)
    coder.is_trained = True
    return coder
