"""The files below folders."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from espnet_plugin.data.scp import DataError


def absolute_folders(folders: Iterable[str | Path]) -> list[str]:
    """Absolute paths, without those inside another.

    Raises:
        DataError: If one is missing. Its entries must not be removed because a disk is not mounted.
    """
    found = []
    for folder in folders:
        path = os.path.abspath(os.path.expanduser(folder))
        if not os.path.isdir(path):
            raise DataError(f"{folder}: no such folder; give folders of images or recordings")
        found.append(path)
    return [
        path
        for path in sorted(set(found))
        if not any(path != other and Path(path).is_relative_to(other) for other in found)
    ]


def find_files(folders: Iterable[str], wanted: Callable[[str], bool]) -> Iterator[str]:
    """Yields the files with a wanted name below folders, links followed, in a fixed order.

    Names that begin with a dot are left out.
    """
    visited: set[tuple[int, int]] = set()

    def unlisted(error: OSError) -> None:
        logging.warning(f"{error.filename} cannot be listed and is skipped ({error.strerror})")

    for folder in folders:
        for directory, names, files in os.walk(folder, followlinks=True, onerror=unlisted):
            status = os.stat(directory)
            if (status.st_dev, status.st_ino) in visited:  # a link that leads back
                names.clear()
                continue
            visited.add((status.st_dev, status.st_ino))
            names[:] = sorted(name for name in names if not name.startswith("."))
            for name in sorted(files):
                if not name.startswith(".") and wanted(name):
                    yield os.path.join(directory, name)


def is_gone(path: str) -> bool:
    """Whether a file was removed, rather than out of reach for now."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
