"""Folders for what is needed for a while, which go when the work is done or the next one begins."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@contextlib.contextmanager
def scratch_folder(parent: str | Path | None = None, *, name: str = "speechclip") -> Iterator[Path]:
    """Yields a new folder, which is removed when the block ends.

    Whoever uses one holds a lock on it, which the kernel frees with the process: what killed
    processes of this user left under the same name is removed first.

    Args:
        parent: Folder to make it in; None: that for temporary files (``TMPDIR``).
        name: What it is for; a part of its own name.
    """
    parent = Path(parent or tempfile.gettempdir())
    for leftover in parent.glob(f".{glob.escape(name)}.*.part*"):
        _remove_if_left(leftover)
    with contextlib.ExitStack() as stack:
        yield _locked_folder(parent, f".{name}.{os.getpid()}.part", stack)


def _locked_folder(parent: Path, prefix: str, stack: contextlib.ExitStack) -> Path:
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        try:
            descriptor = os.open(folder, _FOLDER)
        except FileNotFoundError:  # another process took it for a leftover
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if folder.exists():
            stack.callback(os.close, descriptor)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            return folder
        os.close(descriptor)


def _remove_if_left(folder: Path) -> None:
    with contextlib.suppress(OSError):  # no folder, somebody else's, in use, removed meanwhile
        descriptor = os.open(folder, _FOLDER)
        try:
            if os.fstat(descriptor).st_uid == os.getuid():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
        finally:
            os.close(descriptor)
