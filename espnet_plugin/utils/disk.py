"""Whether something fits on the disk, checked before the work."""

from __future__ import annotations

import shutil
from pathlib import Path

from humanfriendly import format_size

RESERVE = 0.05


def size_text(number: int) -> str:
    """Bytes as people read them.

    >>> size_text(982_598_000), size_text(2_899_102_924)
    ('937 MiB', '2.7 GiB')
    """
    value, unit = format_size(number, binary=True).split()
    return f"{float(value):.{0 if float(value) >= 10 else 1}f} {unit}".replace(".0 ", " ")


class NotEnoughSpaceError(OSError):
    """The disk cannot hold what is about to be written."""


def free_space(directory: str | Path) -> int:
    """Free bytes on the disk of a directory, which may not exist yet."""
    directory = Path(directory).absolute()
    while not directory.exists():
        directory = directory.parent
    return shutil.disk_usage(directory).free


def require_space(
    directory: str | Path, needed: int, *, what: str, remedy: str = "choose another directory"
) -> None:
    """Raises when ``needed`` bytes and a reserve of 5 % do not fit.

    Args:
        directory: Directory where the files go.
        needed: Number of bytes to be written.
        what: Name that the message gives the files.
        remedy: What the message advises if you cannot free space.

    Raises:
        NotEnoughSpaceError: If they do not fit; the message gives both sizes.
    """
    free = free_space(directory)
    if needed * (1 + RESERVE) > free:
        raise NotEnoughSpaceError(
            f"{what} need {size_text(needed)}, but {directory} has only "
            f"{size_text(free)} free. Free some space or {remedy}."
        )
