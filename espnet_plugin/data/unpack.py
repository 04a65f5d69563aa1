"""Unpack a corpus's archives once: no half archive passes for a whole."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.progress import progress
from espnet_plugin.utils.unpack import unpack_tar, unpack_zip


def unpack(archive: Path, directory: Path) -> None:
    """Unpacks an archive unless that was done.

    Args:
        archive: ``.zip``, ``.tar``, ``.tar.gz`` or ``.tgz``.
        directory: Where to; ``.unpacked_<archive>`` marks that all of it was.

    Raises:
        ValueError: The archive is damaged or cut off, or an entry would lie outside the folder.
    """
    stat = archive.stat()
    marker = marker_of(archive, directory)
    stamp = f"{stat.st_size} {stat.st_mtime_ns}"
    if marker.is_file() and marker.read_text() == stamp:
        logging.info(f"{archive.name}: unpacked already")
        return
    directory.mkdir(parents=True, exist_ok=True)
    write = unpack_zip if archive.name.endswith(".zip") else unpack_tar
    shown = partial(progress, description=f"unpacking {archive.name}", unit="file")
    write(archive, directory, follow=shown)
    write_text(marker, stamp)


def marker_of(archive: Path, directory: Path) -> Path:
    """What says that all of an archive was unpacked."""
    return directory / f".unpacked_{archive.name}"
