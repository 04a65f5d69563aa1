"""Unpack zip and tar archives that may come from anybody.

Nothing is written outside the folder. Links and devices are left out.
"""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from espnet_plugin.utils.disk import NotEnoughSpaceError, require_space

_LINK = 0xA  # a zip file stores a link as a file that holds its destination


def unpack(
    archive: Path,
    directory: Path,
    *,
    follow: Callable[[Iterator[Any]], Iterator[Any]] = iter,
) -> None:
    """Unpacks an archive; files that are already in the directory are replaced.

    Args:
        archive: A zip file, or a tar file, compressed or not.
        directory: Directory where its files go.
        follow: Function that passes the entries on as they are written, e.g. to show progress.

    Raises:
        ValueError: If the archive is damaged, or an entry would be outside the folder.
        NotEnoughSpaceError: If the disk cannot hold the files of a zip file.
    """
    directory = directory.resolve()
    with _readable(archive):
        if archive.name.endswith(".zip") or zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                entries = [e for e in packed.infolist() if not e.filename.endswith("/")]
                files = [entry for entry in entries if entry.external_attr >> 28 != _LINK]
                needed = sum(entry.file_size for entry in files)
                require_space(directory, needed, what=f"The files in {archive}")
                for entry in follow(iter(files)):
                    if _is_wanted(entry.filename, archive, directory):
                        packed.extract(entry, directory)
        else:
            with tarfile.open(archive, "r|*") as stream:
                for member in follow(entry for entry in stream if entry.isfile()):
                    if _is_wanted(member.name, archive, directory):
                        _write(stream.extractfile(member), directory / member.name)


def _write(source: Any, target: Path) -> None:
    # tarfile's own extraction has no filter before Python 3.11.4, and sets modes and owners
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "wb") as file:
        shutil.copyfileobj(source, file)


@contextlib.contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except (
        *(tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError),
        *(NotImplementedError, RuntimeError),  # a compression or encryption that Python lacks
    ) as error:
        if isinstance(error, NotEnoughSpaceError) or getattr(error, "errno", None):
            raise  # the disk, not the archive
        raise ValueError(
            f"{archive}: damaged, encrypted, or not downloaded to the end ({error}); remove it and "
            "fetch it again"
        ) from error


def _is_wanted(name: str, archive: Path, directory: Path) -> bool:
    """False for the files that macOS adds to archives."""
    # a link in the directory itself must not lead out either
    if "\\" in name or directory not in (directory / name).resolve().parents:
        raise ValueError(f"{archive}: {name!r} would be outside {directory}; refused")
    return not name.startswith("__MACOSX/")
