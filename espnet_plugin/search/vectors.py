"""A ``.npy`` array that grows by rows and survives a killed process."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from espnet_plugin.data.scp import DataError

_HEADER_BYTES = 128  # fixed: the number of rows is overwritten
_MAGIC = b"\x93NUMPY\x01\x00"


def _header(dtype: np.dtype, shape: tuple[int, int]) -> bytes:
    """The header of NumPy's format 1.0, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html."""
    text = repr({"descr": dtype.str, "fortran_order": False, "shape": shape})
    length = _HEADER_BYTES - len(_MAGIC) - 2
    return _MAGIC + length.to_bytes(2, "little") + text.ljust(length - 1).encode() + b"\n"


class GrowingArray:
    """Appends rows to a ``.npy`` file.

    Rows are written before the header counts them, so the file is valid at any time.

    Args:
        path: The file; made if it is missing.
        width: Columns.
        dtype: Of the numbers.
        rows: Number of valid rows; later ones are cut off. None: all of the header's.

    Raises:
        DataError: If the file is damaged, of another width, or has fewer rows.
    """

    def __init__(
        self, path: Path, *, width: int, dtype: str = "<f4", rows: int | None = None
    ) -> None:
        self.path = path
        self.width = width
        self.dtype = np.dtype(dtype)
        if not path.is_file():
            path.write_bytes(_header(self.dtype, (0, width)))
        there = len(read_rows(path, width=width, dtype=dtype, rows=rows))
        self.rows = there
        os.truncate(path, self._end())
        self._count_rows()

    def _end(self) -> int:
        return _HEADER_BYTES + self.rows * self.width * self.dtype.itemsize

    def _count_rows(self) -> None:
        with self.path.open("r+b") as stream:
            stream.write(_header(self.dtype, (self.rows, self.width)))
            stream.flush()
            os.fsync(stream.fileno())

    def append(self, rows: np.ndarray) -> None:
        """Adds rows (number, width); on the disk when this returns."""
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise ValueError(f"{self.path}: rows of {self.width} numbers, not {rows.shape}")
        with self.path.open("r+b") as stream:
            stream.seek(self._end())
            stream.write(np.ascontiguousarray(rows, self.dtype).tobytes())
            stream.flush()
            os.fsync(stream.fileno())
        self.rows += len(rows)
        self._count_rows()


def read_rows(path: Path, *, width: int, dtype: str = "<f4", rows: int | None = None) -> np.ndarray:
    """The first rows of a file, mapped into memory, (rows, width).

    Args:
        path: A ``.npy`` file.
        width: Required number of columns.
        dtype: Required type.
        rows: How many; None: all.

    Raises:
        DataError: If the file is missing, damaged, cut off, or of another width or type.
    """
    try:
        # an empty array cannot be mapped
        empty = path.stat().st_size == _HEADER_BYTES
        array = np.load(path, mmap_mode=None if empty else "r", allow_pickle=False)
    except Exception as error:  # a damaged header can fail in any way
        raise DataError(f"{path}: missing or damaged ({error})") from error
    if array.ndim != 2 or array.shape[1] != width or array.dtype != np.dtype(dtype):
        raise DataError(f"{path}: holds {array.dtype} {array.shape}, not rows of {width} {dtype}")
    if rows is not None and len(array) < rows:
        raise DataError(f"{path}: cut off, {len(array)} of {rows} rows")
    return array[:rows]


def vectors_file(directory: Path, generation: int) -> Path:
    """Path of an index's vectors; every compaction begins a new file."""
    return directory / f"vectors-{generation}.npy"
