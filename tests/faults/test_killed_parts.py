"""Parts whose processes, or Dask's workers, are killed while they write them."""

from __future__ import annotations

from pathlib import Path

import pytest

parquet = pytest.importorskip("pyarrow.parquet")

from espnet_plugin.apps.search.parts import read_part  # noqa: E402
from tests.faults.kill_parts import PICTURES, RECORDINGS, kill_parts  # noqa: E402
from tests.faults.kill_workers import kill_workers  # noqa: E402


def check(parts: Path, files: int) -> None:
    """Each file once, and those that cannot be read by name."""
    tables = [parquet.read_table(file) for file in sorted(parts.glob("*.parquet"))]
    rows = [(row["path"], row["start"]) for table in tables for row in table.to_pylist()]
    assert len(rows) == len(set(rows)), "twice"
    assert len({path for path, _ in rows}) == files, "lost"
    bad = [Path(name).name for file in parts.iterdir() for name in read_part(file).skipped]
    assert sorted(bad) == ["poisoned.jpg", "poisoned.wav"]


@pytest.mark.slow
def test_killed_parts_equal_undisturbed_ones(tmp_path: Path) -> None:
    check(kill_parts(tmp_path, kills=100), PICTURES + RECORDINGS)


@pytest.mark.slow
def test_parts_of_killed_workers_equal_those_of_one_process(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    check(kill_workers(tmp_path, kills=4), PICTURES + RECORDINGS + 1)
