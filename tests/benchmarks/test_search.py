from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import search


@pytest.mark.slow
def test_search_is_measured_on_tiny_sizes(tmp_path: Path, capsys, monkeypatch) -> None:
    stamp = search.inode_stamp(search.__file__)
    monkeypatch.setattr(search.searching, "inode_stamp", lambda path: stamp)
    search.measure(tmp_path, number=3000, queries=2)
    rows = re.findall(r"^\| (\S+) candidates .* ([\d.]+) \|$", capsys.readouterr().out, re.M)
    assert [name for name, _ in rows] == ["1,000", "4,000", "8,000"]
    assert all(0 <= float(share) <= 1 for _, share in rows)


def test_recall_is_the_share_of_the_expected_rows() -> None:
    assert search.recall([[1, 2], [3, 4]], [[2, 1], [3, 5]]) == np.mean([1.0, 0.5])
