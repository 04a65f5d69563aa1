"""Unpack tar and zip archives: nothing outside the folder, no half archive passes for a whole."""

from __future__ import annotations

import logging
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import IO

from espnet_plugin.data.scp import DataError
from espnet_plugin.utils.atomic import atomic_path, write_text
from espnet_plugin.utils.disk import NotEnoughSpaceError, require_space
from espnet_plugin.utils.progress import progress

_IGNORED = ("__MACOSX/", "._")
_Entry = tuple[str, int, Callable[[], IO[bytes]]]  # name, bytes, what opens it


def unpack(archive: Path, directory: Path) -> None:
    """Unpacks an archive once.

    Files that are there already with the right size are kept, so a run that was stopped goes on.

    Args:
        archive: ``.zip``, ``.tar``, ``.tar.gz`` or ``.tgz``.
        directory: Where to; ``.unpacked_<archive>`` marks that all of it was.

    Raises:
        DataError: The archive is damaged or cut off, or an entry would lie outside the folder.
    """
    stat = archive.stat()
    marker = marker_of(archive, directory)
    stamp = f"{stat.st_size} {stat.st_mtime_ns}"
    if marker.is_file() and marker.read_text() == stamp:
        logging.info(f"{archive.name}: unpacked already")
        return
    directory.mkdir(parents=True, exist_ok=True)
    try:
        shown = partial(progress, description=f"unpacking {archive.name}", unit="file")
        if archive.name.endswith(".zip"):
            with zipfile.ZipFile(archive) as stream:
                _write(shown(_zip_files(stream, directory)), directory)
        else:
            with tarfile.open(archive, "r|*") as stream:
                _write(shown(_tar_files(stream)), directory)
    except (
        *(tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError),
        *(NotImplementedError, RuntimeError),  # a way to pack or to encrypt that Python lacks
    ) as error:
        if isinstance(error, NotEnoughSpaceError) or getattr(error, "errno", None):
            raise  # the disk, not the archive
        raise DataError(
            f"{archive}: damaged, or not downloaded to the end ({error}); remove it and retry"
        ) from error
    write_text(marker, stamp)


def marker_of(archive: Path, directory: Path) -> Path:
    """What says that all of an archive was unpacked."""
    return directory / f".unpacked_{archive.name}"


def target_of(name: str, directory: Path) -> Path | None:
    """Where an entry goes; None for the litter that macOS leaves in archives.

    Raises:
        DataError: It would lie outside the directory.
    """
    path = PurePosixPath(name)
    if name.startswith(_IGNORED[0]) or path.name.startswith(_IGNORED[1]):
        return None
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name:
        raise DataError(f"the archive holds {name!r}, which would lie outside {directory}; refused")
    target = directory.joinpath(*path.parts)
    # a link in the folder itself must not lead out either
    if not _is_inside(target.parent, directory):
        raise DataError(f"the archive holds {name!r}; a link leads it out of {directory}: refused")
    return target


@lru_cache(maxsize=4096)
def _is_inside(folder: Path, directory: Path) -> bool:
    return folder.resolve().is_relative_to(directory.resolve())


def _zip_files(stream: zipfile.ZipFile, directory: Path) -> Iterator[_Entry]:
    # links are stored as files that hold their destination
    files = [
        entry
        for entry in stream.infolist()
        if not entry.filename.endswith("/") and (entry.external_attr >> 28) != 0xA
    ]
    needed = sum(entry.file_size for entry in files)
    require_space(directory, needed, what=f"The files in {stream.filename}")
    for entry in files:
        yield entry.filename, entry.file_size, partial(stream.open, entry)


def _tar_files(stream: tarfile.TarFile) -> Iterator[_Entry]:
    for entry in stream:
        if entry.isfile():  # links and devices have no place in a corpus
            yield entry.name, entry.size, partial(stream.extractfile, entry)


def _write(files: Iterable[_Entry], directory: Path) -> None:
    for name, size, reader in files:
        target = target_of(name, directory)
        if target is None or (target.is_file() and target.stat().st_size == size):
            continue
        with reader() as source, atomic_path(target) as temporary:
            with temporary.open("wb") as output:
                shutil.copyfileobj(source, output, 1 << 20)
            if temporary.stat().st_size != size:
                raise EOFError(f"{name} ends in the middle")
