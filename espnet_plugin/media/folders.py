"""Finds the images and recordings below folders."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from espnet_plugin.media.audio import is_recording
from espnet_plugin.media.images import is_image
from espnet_plugin.utils.errors import DataError


def absolute_folders(folders: Iterable[str | Path]) -> list[str]:
    """Absolute paths, without those inside another.

    Raises:
        DataError: If one is missing or may not be listed, because entries must stay while a disk is
            not mounted.
    """
    found = []
    for folder in folders:
        path = os.path.abspath(os.path.expanduser(folder))
        if not os.path.isdir(path):
            wrong = "a file" if os.path.exists(path) else "no such folder"
            raise DataError(f"{folder}: {wrong}; give folders of images or recordings")
        require_permission(path)
        found.append(path)
    return [
        path
        for path in sorted(set(found))
        if not any(path != other and Path(path).is_relative_to(other) for other in found)
    ]


def require_permission(folder: str) -> None:
    """Raises DataError if a folder may not be listed."""
    if not os.access(folder, os.R_OK | os.X_OK):
        raise DataError(f"{folder}: no permission to list it; ask its owner")


def is_medium(name: str) -> bool:
    """Whether a file is an image or a recording, by the ending of its name."""
    return is_image(name) or is_recording(name)


def require_media(folder: str) -> None:
    """Looks for an image or a recording below a folder.

    Raises:
        DataError: If there is none; the message counts by their endings the files that are there.
    """
    others: Counter[str] = Counter()
    for path in find_files([folder], lambda _: True):
        if is_medium(path):
            return
        others[os.path.splitext(path)[1].lower() or "without an ending"] += 1
    listed = ", ".join(f"{count:,} × {ending}" for ending, count in others.most_common(5))
    more = f", and other endings: {len(others) - 5}" if len(others) > 5 else ""
    passed = f"passed over: {listed}{more}" if others else "it holds no files"
    raise DataError(f"{folder}: no image and no recording below it; {passed}")


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
