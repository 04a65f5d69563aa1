"""Whether a file has changed: by its stamp, which is quick, or by its content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_CHUNK = 1 << 20
Stamp = list[int] | None


def hash_file(path: str | Path, digest: hashlib._Hash) -> hashlib._Hash:
    """Adds a file's content to a hash, a megabyte at a time.

    Args:
        path: Path of the file.
        digest: A hash object of ``hashlib``; it may hold other data already.

    Returns:
        ``digest``.
    """
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest


def content_hash(value: object) -> str:
    """A hash of a value: of a file's name and content, of a folder's files, or of itself."""
    digest = hashlib.sha256(b"" if on_disk(value) else repr(value).encode())
    for file in files_of(value):
        digest.update(f"{file.name}\n".encode("utf-8", "surrogateescape"))
        hash_file(file, digest)
    return digest.hexdigest()


def on_disk(value: object) -> bool:
    """Whether a value names a file or folder that is there."""
    return isinstance(value, (str, Path)) and bool(str(value)) and os.path.exists(value)


def files_of(value: object) -> list[Path]:
    """The file that a value names, or the files in the folder; a folder's folders do not count."""
    if not on_disk(value):
        return []
    path = Path(str(value))
    return [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())


def stamp(path: str | Path) -> Stamp:
    """Size of a file in bytes and time of its last change in ns, or None if it is missing."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return None
    return [stat.st_size, stat.st_mtime_ns]


def inode_stamp(path: str | Path) -> str | None:
    """A stamp with the inode's time, too; nobody can set that, so it shows a copy over the file."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return None
    return f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"
