"""Hashes of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

_CHUNK = 1 << 20


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
