"""Unpack zip and tar archives that may come from anybody.

Nothing is written outside the folder, links and devices are left out, and no half file stays.
"""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import IO

from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.disk import NotEnoughSpaceError, require_space

_LINK = 0xA  # a zip file stores a link as a file that holds its destination
_File = tuple[str, int, Callable[[], IO[bytes]]]  # name, bytes, what opens it
_Follow = Callable[[Iterable[_File]], Iterable[_File]]


def unpack_zip(
    archive: Path,
    directory: Path,
    *,
    check: Callable[[list[zipfile.ZipInfo]], None] | None = None,
    follow: _Follow = iter,
) -> frozenset[str]:
    """Unpacks a zip file.

    Files that are there already with the right size are kept, so a run that was stopped goes on.

    Args:
        archive: The file.
        directory: Where to.
        check: Looks at the entries before anything is written; raises ValueError to refuse them.
        follow: Goes through the files as they are written, e.g. to show how many there were.

    Returns:
        Names of its files, relative to the directory.

    Raises:
        ValueError: It is damaged, an entry would lie outside the directory, or it is refused.
        NotEnoughSpaceError: The disk cannot hold it.
    """
    with _readable(archive), zipfile.ZipFile(archive) as stream:
        entries = [entry for entry in stream.infolist() if not entry.filename.endswith("/")]
        if check:
            check(entries)
        files = [entry for entry in entries if entry.external_attr >> 28 != _LINK]
        needed = sum(entry.file_size for entry in files)
        require_space(directory, needed, what=f"The files in {archive}")
        opened = ((e.filename, e.file_size, partial(stream.open, e)) for e in files)
        return _write(follow(opened), archive, directory)


def unpack_tar(archive: Path, directory: Path, *, follow: _Follow = iter) -> frozenset[str]:
    """Unpacks a tar file, compressed or not; otherwise as :func:`unpack_zip`."""
    with _readable(archive), tarfile.open(archive, "r|*") as stream:
        opened = ((e.name, e.size, partial(stream.extractfile, e)) for e in stream if e.isfile())
        return _write(follow(opened), archive, directory)


@contextlib.contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except (
        *(tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError),
        *(NotImplementedError, RuntimeError),  # a way to pack or to encrypt that Python lacks
    ) as error:
        if isinstance(error, NotEnoughSpaceError) or getattr(error, "errno", None):
            raise  # the disk, not the archive
        raise ValueError(
            f"{archive}: damaged, encrypted, or not downloaded to the end ({error}); remove it and "
            "fetch it again"
        ) from error


def _target(name: str, archive: Path, directory: Path) -> Path | None:
    """Where an entry goes; None for the litter that macOS leaves in archives."""
    path = PurePosixPath(name)
    if name.startswith("__MACOSX/") or path.name.startswith("._"):
        return None
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ValueError(f"{archive}: {name!r} would lie outside the archive's folder; refused")
    target = directory.joinpath(*path.parts)
    # a link in the folder itself must not lead out either
    if not _is_inside(target.parent, directory):
        raise ValueError(f"{archive}: a link leads {name!r} out of {directory}; refused")
    return target


@lru_cache(maxsize=4096)
def _is_inside(folder: Path, directory: Path) -> bool:
    return folder.resolve().is_relative_to(directory.resolve())


def _write(files: Iterable[_File], archive: Path, directory: Path) -> frozenset[str]:
    names = set()
    for name, size, reader in files:
        target = _target(name, archive, directory)
        if target is None:
            continue
        names.add(name)
        if target.is_file() and target.stat().st_size == size:
            continue
        with reader() as source, atomic_path(target) as temporary:
            with temporary.open("wb") as output:
                shutil.copyfileobj(source, output, 1 << 20)
            if temporary.stat().st_size != size:
                raise EOFError(f"{name} ends in the middle")
    return frozenset(names)
