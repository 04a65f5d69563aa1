"""Check a file before it is opened, and find the cache's folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from espnet_plugin.utils.errors import DataError


class MissingPackageError(DataError):
    """The package that reads a file's format is not installed; the message names it."""


def require_files(paths: Iterable[str | Path]) -> None:
    """Raises when a file is not there or cannot be opened, e.g. before a model is loaded.

    Raises:
        DataError: If a file cannot be opened; names the first such file and the reason.
    """
    for path in paths:
        if problem := file_problem(path):
            raise DataError(f"{path}: {problem}")


def file_problem(path: str | Path) -> str | None:
    """The reason why a file cannot be read, or None."""
    path = Path(path)
    if path.is_dir():
        return "a folder, not a file"
    if not path.is_file():
        return "no such file"
    if not os.access(path, os.R_OK):
        return "no permission to read it; ask its owner"
    return "empty file" if path.stat().st_size == 0 else None


def cache_directory() -> Path:
    """Folder of what is kept: ``$SPEECHCLIP_CACHE``, or ``speechclip`` in XDG's cache."""
    given = os.environ.get("SPEECHCLIP_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "speechclip"
