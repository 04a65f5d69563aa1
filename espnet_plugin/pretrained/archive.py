"""Unpack models that may come from anybody."""

from __future__ import annotations

import stat
import zipfile
import zlib
from functools import partial
from pathlib import Path

from espnet_plugin.utils.disk import require_space
from espnet_plugin.utils.unpack import unpack

# Weights hardly shrink: an archive that unpacks to many times its size holds something else.
MAX_RATIO = 20
SMALL_BYTES = 64 << 20  # up to which the ratio does not matter
MAX_BYTES = 64 << 30
MAX_MEMBERS = 10_000
MAX_CONFIG_BYTES = 1 << 24


def unpack_model(path: Path, directory: Path) -> None:
    """Unpacks a model's zip file.

    Args:
        path: The file.
        directory: Where its files go.

    Raises:
        ValueError: If it is damaged, unpacks to far more than its size, or holds links or names
            that lead out of it.
        NotEnoughSpaceError: If there is not enough space.
    """
    unpack(path, directory, check=partial(_check_members, path, directory))


def packed_config(path: Path) -> bytes:
    """The configuration in a packed model; empty if there is none.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("config.yaml")]
            if not names:
                return b""
            with archive.open(min(names, key=len)) as member:
                return member.read(MAX_CONFIG_BYTES)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: damaged, or not a model's zip file ({error})") from error


def _check_members(path: Path, directory: Path, members: list[zipfile.ZipInfo]) -> None:
    size = sum(entry.file_size for entry in members)
    if size > min(MAX_BYTES, max(SMALL_BYTES, MAX_RATIO * path.stat().st_size)):
        raise ValueError(
            f"{path}: would unpack to {size >> 20} MiB, far more than a model of its size"
        )
    names = [entry.filename for entry in members]
    if len(names) > MAX_MEMBERS or len(set(names)) < len(names):
        raise ValueError(f"{path}: holds too many files, or two of one name")
    for entry in members:
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ValueError(f"{path}: {entry.filename!r} is a link or device; refused")
    remedy = "name another folder in TMPDIR"
    require_space(directory, size, what=f"The files in {path}", remedy=remedy)
