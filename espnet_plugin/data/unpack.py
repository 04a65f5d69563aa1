"""Unpack tar and zip archives: nothing outside the folder, no half archive passes for a whole."""

from __future__ import annotations

import logging
import shutil
import tarfile
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path, PurePosixPath

from espnet_plugin.data.scp import DataError
from espnet_plugin.utils.atomic import atomic_path, write_text
from espnet_plugin.utils.disk import require_space
from espnet_plugin.utils.progress import progress

_IGNORED = ("__MACOSX/", "._")


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
    marker = directory / f".unpacked_{archive.name}"
    stamp = f"{stat.st_size} {stat.st_mtime_ns}"
    if marker.is_file() and marker.read_text() == stamp:
        logging.info(f"{archive.name}: unpacked already")
        return
    directory.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, directory)
        elif archive.name.endswith(".zip"):
            raise zipfile.BadZipFile("no zip file")
        else:
            _unpack_tar(archive, directory)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk, not the archive
        raise DataError(
            f"{archive}: damaged, or not downloaded to the end ({error}); remove it and retry"
        ) from error
    write_text(marker, stamp)


def target_of(name: str, directory: Path) -> Path | None:
    """Where an entry goes; None for the litter that macOS leaves in archives.

    Raises:
        DataError: It would lie outside the directory.
    """
    path = PurePosixPath(name)
    if name.startswith(_IGNORED[0]) or path.name.startswith(_IGNORED[1]):
        return None
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise DataError(f"the archive holds {name!r}, which would lie outside {directory}; refused")
    target = directory.joinpath(*path.parts)
    # a link in the folder itself must not lead out either
    if not _is_inside(target.parent, directory):
        raise DataError(f"the archive holds {name!r}; a link leads it out of {directory}: refused")
    return target


@lru_cache(maxsize=4096)
def _is_inside(folder: Path, directory: Path) -> bool:
    return folder.resolve().is_relative_to(directory.resolve())


def _unpack_zip(archive: Path, directory: Path) -> None:
    with zipfile.ZipFile(archive) as stream:
        entries = [entry for entry in stream.infolist() if not entry.is_dir()]
        needed = sum(entry.file_size for entry in entries)
        require_space(directory, needed, what=f"The files in {archive.name}")
        for entry in progress(entries, description=f"unpacking {archive.name}", unit="file"):
            target = target_of(entry.filename, directory)
            # links are stored as files that hold their destination
            is_link = (entry.external_attr >> 28) == 0xA
            if target is None or is_link or _there(target, entry.file_size):
                continue
            with stream.open(entry) as source, atomic_path(target) as temporary:
                with temporary.open("wb") as output:
                    shutil.copyfileobj(source, output, 1 << 20)


def _unpack_tar(archive: Path, directory: Path) -> None:
    with tarfile.open(archive, "r|*") as stream:
        shown = progress(stream, description=f"unpacking {archive.name}", unit="file")
        for entry in shown:
            # links and devices have no place in a corpus
            if not entry.isfile():
                continue
            target = target_of(entry.name, directory)
            if target is None or _there(target, entry.size):
                continue
            source = stream.extractfile(entry)
            assert source is not None
            with source, atomic_path(target) as temporary:
                with temporary.open("wb") as output:
                    shutil.copyfileobj(source, output, 1 << 20)
                if temporary.stat().st_size != entry.size:
                    raise EOFError(f"{entry.name} ends in the middle")


def _there(target: Path, size: int) -> bool:
    return target.is_file() and target.stat().st_size == size
