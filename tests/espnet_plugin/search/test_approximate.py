from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from espnet_plugin.search.approximate import candidates, import_faiss, read_codes, write_codes


@pytest.fixture
def vectors() -> np.ndarray:
    """300 unit vectors of 64 numbers."""
    found = np.random.default_rng(0).standard_normal((300, 64), dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_threads_propose_what_one_does(vectors: np.ndarray, tmp_path: Path) -> None:
    """Each scans its own rows, with and without some that are unwanted."""
    faiss = import_faiss()
    before, windows = faiss.omp_get_max_threads(), np.arange(300) % 7 == 0
    write_codes(tmp_path / "codes", vectors, windows)
    found = []
    try:
        for threads in (1, 3):
            faiss.omp_set_num_threads(threads)
            codes = read_codes(tmp_path / "codes", rows=300, dim=64)
            assert len(codes.shards) == threads and (codes.windows == windows).all()
            found.append(
                [
                    candidates(codes, query[None], unwanted, 40, least=1).tolist()
                    for query in vectors[:10]
                    for unwanted in (np.zeros(300, bool), windows)
                ]
            )
    finally:
        faiss.omp_set_num_threads(before)
    assert found[0] == found[1]
    assert all(len(rows) == 40 and rows == sorted(rows) for rows in found[0])
    assert not any(row % 7 == 0 for rows in found[0][1::2] for row in rows)


def test_the_number_of_candidates(vectors: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    folder.mkdir()
    write_codes(folder / "codes", vectors, np.zeros(300, bool))
    (folder / "other").touch()
    assert (folder / "codes").stat().st_mode == (folder / "other").stat().st_mode
    codes = read_codes(folder / "codes", rows=300, dim=64)
    for number, least, expected in ((5, 3, 5), (5, 9, 9), (None, 3, 300)):
        rows = candidates(codes, vectors[:1], np.zeros(300, bool), number, least=least)
        assert len(rows) == expected


def test_known_codes_stay_while_they_are_at_least_half(vectors: np.ndarray, tmp_path: Path) -> None:
    none = np.zeros(300, bool)
    write_codes(tmp_path / "150", vectors[:150], none[:150])
    known = read_codes(tmp_path / "150", rows=150, dim=64)
    write_codes(tmp_path / "300", vectors, none, known)
    grown = read_codes(tmp_path / "300", rows=300, dim=64)
    assert (grown.center == known.center).all() and (grown.codes[:150] == known.codes).all()
    write_codes(tmp_path / "149", vectors[:149], none[:149])
    write_codes(tmp_path / "again", vectors, none, read_codes(tmp_path / "149", rows=149, dim=64))
    write_codes(tmp_path / "anew", vectors, none)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "anew").read_bytes()
