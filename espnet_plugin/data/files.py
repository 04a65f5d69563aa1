"""What is wrong with a file before it is opened."""

from __future__ import annotations

import os
from pathlib import Path

from espnet_plugin.data.scp import DataError


class MissingPackageError(DataError):
    """A file is of a format that a package reads which is not installed; the message names it."""


def file_problem(path: str | Path) -> str | None:
    """Says why nothing can be read from a file, or None."""
    path = Path(path)
    if path.is_dir():
        return "a folder, not a file"
    if not path.is_file():
        return "no such file"
    if not os.access(path, os.R_OK):
        return "no permission to read it; ask its owner"
    return "empty file" if path.stat().st_size == 0 else None
