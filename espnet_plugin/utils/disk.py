"""Whether something fits on the disk, asked before the work and not after it."""

from __future__ import annotations

import shutil
from pathlib import Path

RESERVE = 0.05


class NotEnoughSpaceError(OSError):
    """The disk cannot hold what is about to be written."""


def human_size(size: float) -> str:
    """Size with a unit.

    >>> human_size(2048)
    '2.0 KiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def free_space(directory: str | Path) -> int:
    """Bytes free on the disk of a directory, which need not exist yet."""
    directory = Path(directory).absolute()
    while not directory.exists():
        directory = directory.parent
    return shutil.disk_usage(directory).free


def require_space(directory: str | Path, needed: int, *, what: str) -> None:
    """Raises when ``needed`` bytes and a reserve of 5 % do not fit.

    Args:
        directory: Where the files go.
        needed: Bytes to be written.
        what: Name of the files for the message.

    Raises:
        NotEnoughSpaceError: With both sizes.
    """
    free = free_space(directory)
    if needed * (1 + RESERVE) > free:
        raise NotEnoughSpaceError(
            f"{what} need {human_size(needed)}, but {directory} has only {human_size(free)} free. "
            "Free some space or choose another directory."
        )
