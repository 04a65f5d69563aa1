"""Images and recordings in folders, lists and tar shards, shared out among parts.

A shard belongs to the part that its number names, any other file to the part that a hash of its id
names. So a part finds its items without asking the others.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.folders import find_files, is_medium


class Item(NamedTuple):
    """An image or recording.

    Attributes:
        id: Name of the item below the folder, in the list, or in the shard.
        path: Absolute path of its file or shard.
        place: First byte and number of bytes in the shard, or None if it is a file.
    """

    id: str
    path: str
    place: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """Name that messages give it."""
        return f"{self.path}: {self.id}" if self.path.endswith(".tar") else self.path


def items_of_part(
    sources: Sequence[str], part: int, of: int, bad: dict[str, str]
) -> Iterator[Item]:
    """Yields the items of a part, always in the same order.

    Args:
        sources: Folders with all below them; tar shards; images and recordings. Other files are
            lists with a path in each line, from the list's folder on.
        part: Number of the part, from 1 on.
        of: Number of parts.
        bad: Gets the damaged shards with the reason; what is before the damage is used.

    Raises:
        DataError: If a source is missing.
    """
    for source in sources:
        for name, path in _files(source):
            shard = path.endswith(".tar")
            number = re.findall(r"\d+", os.path.basename(path))[-1:] if shard else []
            digest = hashlib.sha256(os.fsencode(name)).hexdigest()
            if (int(number[0]) if number else int(digest, 16)) % of == part - 1:
                yield from _members(path, bad) if shard else [Item(name, path)]


def _files(path: str) -> Iterator[tuple[str, str]]:
    """Id and path of each file of a source."""
    if os.path.isdir(path):
        file = ""
        for file in find_files([path], lambda name: name.endswith(".tar") or is_medium(name)):
            yield os.path.relpath(file, path), file
        if not file:
            raise DataError(f"{path}: no image, recording or tar shard below it")
    elif not os.path.isfile(path):
        raise DataError(f"{path}: no such folder, list or tar shard")
    elif path.endswith(".tar") or is_medium(path):
        yield os.path.basename(path), path
    else:
        with open(path, "rb") as lines:
            for line in lines:
                if name := os.fsdecode(line.rstrip(b"\r\n")):
                    yield name, os.path.join(os.path.dirname(path), name)


def _members(path: str, bad: dict[str, str]) -> Iterator[Item]:
    """The images and recordings in a shard."""
    try:
        with tarfile.open(path, "r:") as shard, open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            for member in shard:
                whole = member.offset_data + member.size <= size
                if whole and member.isreg() and is_medium(member.name):
                    yield Item(member.name, path, (member.offset_data, member.size))
            stream.seek(shard.offset)  # at a damaged header, tarfile ends as if it had read all
            if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"damaged or cut off at byte {shard.offset:,}")
    except (OSError, ValueError, tarfile.TarError) as error:
        bad[path] = f"not a whole tar file ({error})"
