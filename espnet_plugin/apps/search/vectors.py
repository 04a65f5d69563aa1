"""The file of an index's vectors: float16, row after row.

The catalog says how many rows count. A killed process can leave more, which are written over.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from espnet_plugin.utils.errors import DataError

FILE = "vectors.f16"
NUMBER = np.dtype("<f2")
BLOCK = 512  # rows that fit into a processor's cache
ROWS_OF_CORE = 50_000  # for fewer, another core is not worth its start


def write_rows(path: Path, start: int, rows: np.ndarray) -> None:
    """Writes rows (number, dim) at a place in the file, and returns when they are on the disk.

    Raises:
        DataError: If the rows before them are missing.
    """
    path.touch()
    place = start * rows.shape[1] * NUMBER.itemsize
    if path.stat().st_size < place:
        raise DataError(f"{path}: cut off, before row {start}; remove the index")
    with path.open("r+b") as stream:
        stream.seek(place)
        stream.write(np.ascontiguousarray(rows, NUMBER).tobytes())
        stream.flush()
        os.fsync(stream.fileno())


def read_rows(path: Path, *, rows: int, dim: int) -> np.ndarray:
    """The first rows of a file, mapped into memory, (rows, dim).

    Raises:
        DataError: If the file is missing or cut off.
    """
    if not rows:
        return np.empty((0, dim), NUMBER)  # an empty array cannot be mapped
    try:
        return np.memmap(path, NUMBER, "r", shape=(rows, dim))
    except (OSError, ValueError, OverflowError) as error:
        raise DataError(
            f"{path}: missing or damaged, not of shape ({rows}, {dim}) ({error}); remove the index "
            "and make it again"
        ) from error


def cosines(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Cosines of unit vectors (rows, dim) and a unit query (dim,), in float32, (rows,).

    Reading and converting the vectors takes most of the time, so all cores do it.
    """
    # PyTorch converts float16 five times as fast as NumPy, but takes seconds to import
    torch = sys.modules.get("torch")
    found = np.empty(len(vectors), np.float32)

    def compare(rows: range) -> None:
        for start in range(rows.start, rows.stop, BLOCK):
            block = np.array(vectors[start : min(start + BLOCK, rows.stop)])
            exact = torch.from_numpy(block).float().numpy() if torch else block.astype(np.float32)
            found[start : start + len(block)] = exact @ query

    cores = min(os.cpu_count() or 1, 1 + len(vectors) // ROWS_OF_CORE)
    bounds = [len(vectors) * core // cores for core in range(cores + 1)]
    with ThreadPoolExecutor(cores) as threads:
        mapped = threads.map if cores > 1 else map  # a small search starts no thread
        list(mapped(compare, map(range, bounds[:-1], bounds[1:])))
    return found
