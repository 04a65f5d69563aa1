"""Pickles that would run something, for readers that must not."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def touch(marker: Path) -> Call:
    """Pickles as a call that makes a file."""
    return Call(os.system, f"touch {marker}")


def raw_archive(path: Path, pickled: bytes) -> Path:
    """A checkpoint with a pickle of our own and one record of eight bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3")
        archive.writestr("archive/data/0", np.arange(2, dtype=np.float32).tobytes())
    return path
