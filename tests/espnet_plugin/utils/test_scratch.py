from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_plugin.utils.scratch import scratch_folder

HOLDER = """
import sys, time
from espnet_plugin.utils.scratch import scratch_folder
with scratch_folder(sys.argv[1], name="x") as folder:
    (folder / "half").write_text("written")
    print(folder, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    others = [".y.77.part", ".x.77.parts.txt", "x.77.part"]
    for name in others:
        (tmp_path / name).mkdir() if name != others[1] else (tmp_path / name).write_text("")
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / ".x.78.part").symlink_to(outside)
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        held = Path(process.stdout.readline().strip())
        with scratch_folder(tmp_path, name="x") as folder:
            assert held.is_dir() and folder.is_dir()
        process.send_signal(signal.SIGKILL)
    assert (held / "half").exists()
    with scratch_folder(tmp_path, name="x"):
        assert not held.exists()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*others, "outside", ".x.78.part"}


def test_it_lies_where_temporary_files_do_and_goes_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyError), scratch_folder() as folder:
        assert folder.parent == tmp_path and str(os.getpid()) in folder.name
        (folder / "file").write_text("")
        raise KeyError
    assert not list(tmp_path.iterdir())
