from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.vectors import GrowingArray, read_rows


def test_numpy_reads_what_has_grown(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    array = GrowingArray(path, width=2)
    assert read_rows(path, width=2).shape == (0, 2)
    array.append(np.array([[1, 2]]))
    GrowingArray(path, width=2).append(np.array([[3, 4], [5, 6]]))
    assert np.load(path, allow_pickle=False).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert read_rows(path, width=2, rows=2).tolist() == [[1, 2], [3, 4]]


def test_what_was_not_counted_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    GrowingArray(path, width=1).append(np.array([[1.0], [2.0]]))
    with path.open("ab") as stream:  # half a row of a killed process
        stream.write(b"\x00\x00")
    array = GrowingArray(path, width=1, rows=1)
    array.append(np.array([[9.0]]))
    assert np.load(path).tolist() == [[1.0], [9.0]]


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    GrowingArray(path, width=2).append(np.ones((5, 2)))
    with pytest.raises(DataError, match="not rows of 3"):
        read_rows(path, width=3)
    with pytest.raises(DataError, match="cut off, 5 of 6 rows"):
        read_rows(path, width=2, rows=6)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="v.npy: missing or damaged"):
        read_rows(path, width=2)
    np.save(path, np.array([[print]]), allow_pickle=True)
    with pytest.raises(DataError, match="v.npy: missing or damaged"):
        read_rows(path, width=1)
