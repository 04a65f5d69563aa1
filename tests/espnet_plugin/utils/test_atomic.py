"""A failed write leaves the old file and no litter."""

from __future__ import annotations

import errno
import shutil
from types import SimpleNamespace

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


def test_a_full_disk_is_told_with_the_path(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    with pytest.raises(OSError) as told, atomic_path(path), open("/dev/full", "w") as stream:
        stream.write("x")
    assert (told.value.errno, told.value.filename) == (errno.ENOSPC, str(path))
    # NumPy, libsndfile and PyTorch do not say why they could not write
    for silent in (OSError("8 requested and 0 written"), RuntimeError("System error")):
        with pytest.raises(type(silent), match=str(silent)), atomic_path(path):
            raise silent
        with monkeypatch.context() as full:
            full.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
            with pytest.raises(OSError) as told, atomic_path(path):
                raise silent
        assert (told.value.errno, told.value.filename) == (errno.ENOSPC, str(path))


def test_another_error_of_the_block_stays_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="^nothing there$"), atomic_path(tmp_path / "a"):
        raise FileNotFoundError("nothing there")


def test_two_writers_of_a_file_do_not_share_its_beginning(tmp_path):
    """Processes of two machines may have the same number."""
    with atomic_path(tmp_path / "x") as first, atomic_path(tmp_path / "x") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "x").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1
