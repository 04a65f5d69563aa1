from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import search


@pytest.mark.slow
def test_search_is_measured_on_tiny_sizes(tmp_path: Path, capsys, monkeypatch) -> None:
    stamp = search.inode_stamp(search.__file__)
    monkeypatch.setattr(search.searching, "inode_stamp", lambda path: stamp)
    search.measure(tmp_path, number=3000, queries=2)
    assert re.search(r"\| 1024 +\| \d+ +\|$", capsys.readouterr().out, re.M)
