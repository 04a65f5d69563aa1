"""Temporary folders, which the next process removes if this one is killed; whole new folders."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout


@contextlib.contextmanager
def scratch_folder(parent: str | Path | None = None, *, name: str = "speechclip") -> Iterator[Path]:
    """Yields a new folder and removes it when the block ends.

    The lock file beside the folder is held meanwhile. A killed process frees its lock. The next
    folder of the same name removes what such a process left.

    Args:
        parent: Folder to make it in, by default the one for temporary files (``TMPDIR``).
        name: What the folder is for, which is part of its own name.
    """
    parent = Path(parent or tempfile.gettempdir())
    for left in parent.glob(f".{glob.escape(name)}.*.part.lock"):
        with contextlib.suppress(OSError, Timeout), _locked(left.with_suffix(""), timeout=0):
            pass  # no process uses it any more
    folder = parent / f".{name}.{os.getpid()}.{secrets.token_hex(4)}.part"
    with _locked(folder):
        folder.mkdir(mode=0o700)
        yield folder


@contextlib.contextmanager
def new_directory(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Yields a temporary directory beside ``path``, which takes its place when the block succeeds.

    Args:
        path: Final path of the directory.
        force: Whether to replace what is there.

    Raises:
        FileExistsError: If something is there and ``force`` is off.
    """
    path = Path(path)
    if not force and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(
            f"{path} exists and is not empty; give another directory, or replace it with "
            "force=True (--force)"
        )
    path = path.absolute()
    made = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with scratch_folder(path.parent, name=path.name) as scratch:
            temporary = scratch / "new"
            temporary.mkdir()
            yield temporary
            # safetensors 0.8 writes files that only their owner can read
            for file in temporary.rglob("*.safetensors"):
                file.chmod(temporary.stat().st_mode & 0o666)
            if path.exists():
                os.replace(path, scratch / "old")
            os.replace(temporary, path)
    finally:
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()  # only if it is empty


@contextlib.contextmanager
def _locked(folder: Path, *, timeout: float = -1) -> Iterator[None]:
    """Holds the lock of a folder, and removes both at the end."""
    lock = folder.with_name(f"{folder.name}.lock")
    with FileLock(lock, timeout=timeout):
        try:
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)
