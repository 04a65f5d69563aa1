"""A failed write leaves the old file and no litter."""

from __future__ import annotations

import pytest

from espnet_plugin.utils.atomic import atomic_path, write_text


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]
