"""The file of an index's vectors: float32, row after row.

The catalog says how many rows count. A killed process can leave more, which are written over.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from espnet_plugin.data.scp import DataError

NUMBER = np.dtype("<f4")


def vectors_file(directory: Path, generation: int) -> Path:
    """Path of an index's vectors; every compaction begins a new file."""
    return directory / f"vectors-{generation}.f32"


def write_rows(path: Path, start: int, rows: np.ndarray) -> None:
    """Writes rows (number, dim) from a row on; they are on the disk when this returns.

    Raises:
        DataError: If the rows before them are missing.
    """
    path.touch()
    place = start * rows.shape[1] * NUMBER.itemsize
    if path.stat().st_size < place:
        raise DataError(f"{path}: cut off, less than {start} rows; remove the index")
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
            f"{path}: missing or damaged, not {rows} rows of {dim} ({error}); remove the index and "
            "make it again"
        ) from error
