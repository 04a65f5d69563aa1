"""Parts whose processes, or Dask's workers, are killed while they write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

parquet = pytest.importorskip("pyarrow.parquet")

from tests.faults.kill_parts import PICTURES, RECORDINGS, kill_parts  # noqa: E402
from tests.faults.kill_workers import kill_workers  # noqa: E402


@pytest.mark.slow
def test_killed_parts_equal_undisturbed_ones(tmp_path: Path) -> None:
    parts = kill_parts(tmp_path, kills=100)
    rows = [
        (row["path"], row["id"], row["start"])
        for file in sorted(parts.glob("*.parquet"))
        for row in parquet.read_table(file).to_pylist()
    ]
    assert len(rows) == len(set(rows)), "twice"
    ids = {(path, name) for path, name, _ in rows}
    alone = [name for path, name in ids if not path.endswith(b".tar")]
    assert len(alone) == PICTURES + RECORDINGS, "lost"
    assert len(ids) - len(alone) == 3 * 12 + 2
    manifests = [json.loads(path.read_bytes()) for path in parts.glob("*.json")]
    bad = [name.rpartition("/")[2] for part in manifests for name in part["bad"]]
    assert sorted(bad) == [
        "poisoned.jpg",
        "poisoned.wav",
        "shard-000.tar: 0-poisoned.jpg",
        "shard-001.tar: 1-poisoned.jpg",
        "shard-002.tar: 2-poisoned.jpg",
        "shard-003.tar",
    ]


@pytest.mark.slow
def test_parts_of_killed_workers_equal_those_of_one_process(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    parts = kill_workers(tmp_path, kills=4)
    tables = [parquet.read_table(file) for file in sorted(parts.glob("*.parquet"))]
    rows = [(row["path"], row["id"], row["start"]) for t in tables for row in t.to_pylist()]
    assert len(rows) == len(set(rows)), "twice"
    alone = {name for path, name, _ in rows if not path.endswith(b".tar")}
    assert len(alone) == PICTURES + RECORDINGS + 1, "lost"
