from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from espnet_plugin.apps.search import vectors as module
from espnet_plugin.apps.search.vectors import cosines, read_rows, write_rows
from espnet_plugin.utils.errors import DataError


def test_what_was_not_counted_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "v.f16"
    write_rows(path, 0, np.array([[1, 2], [3, 4]]))
    with path.open("ab") as stream:  # half a row of a killed process
        stream.write(b"\x00\x00")
    write_rows(path, 1, np.array([[5, 6], [7, 8]]))
    assert read_rows(path, rows=2, dim=2).tolist() == [[1, 2], [5, 6]]
    assert read_rows(path, rows=0, dim=2).shape == (0, 2)


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "v.f16"
    write_rows(path, 0, np.ones((5, 2)))
    for rows, dim in ((6, 2), (5, 3), (1, 10**30)):
        with pytest.raises(DataError, match="v.f16: missing or damaged"):
            read_rows(path, rows=rows, dim=dim)
    with pytest.raises(DataError, match="v.f16: cut off"):
        write_rows(path, 6, np.ones((1, 2)))


def test_vectors_are_kept_in_float16_and_compared_in_float32(tmp_path: Path) -> None:
    exact = np.float32(1 / 3)
    path = tmp_path / "v.f16"
    write_rows(path, 0, np.array([[exact, 1]]))
    rows = read_rows(path, rows=1, dim=2)
    assert rows.tolist() == [[float(np.float16(exact)), 1]]
    found = cosines(rows, np.array([3, 0.5], np.float32))
    assert found.dtype == np.float32
    assert found.tolist() == [3 * np.float32(np.float16(exact)) + np.float32(0.5)]


def test_cosines_are_the_same_where_pytorch_is_not_imported(monkeypatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float16)
    query = np.arange(8, dtype=np.float32)
    monkeypatch.setitem(sys.modules, "torch", torch)
    with_torch = cosines(vectors, query)
    monkeypatch.delitem(sys.modules, "torch")
    assert np.array_equal(cosines(vectors, query), with_torch)


@pytest.mark.parametrize("rows", [0, 1, 199, 1237])
def test_several_cores_compare_all_rows(rows: int, monkeypatch) -> None:
    monkeypatch.setattr(module, "ROWS_OF_CORE", 100)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 3)
    vectors = np.random.default_rng(0).normal(size=(rows, 8)).astype(np.float16)
    query = np.arange(8, dtype=np.float32)
    np.testing.assert_allclose(cosines(vectors, query), vectors.astype(np.float32) @ query, 1e-4)
