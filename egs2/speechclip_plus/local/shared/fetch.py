"""Fetch a large file from mirrors.

A download that was cut off continues where it stopped. A file gets its name only when its size and
checksum are right.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import math
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from espnet_plugin.utils.disk import require_space, size_text
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.hashing import hash_file
from espnet_plugin.utils.progress import counted, progress

_CHUNK = 1 << 20
_TIMEOUT = 60  # seconds without a byte
_ATTEMPTS = 5  # in a row that bring nothing, per address


@dataclass(frozen=True)
class Resource:
    """A file to be fetched, most often an archive.

    Attributes:
        name: Name that the file gets here.
        urls: Addresses of the file, the owner's first.
        folder: Folder where it is unpacked, relative to the corpus's folder.
        present: Paths relative to the corpus's folder; if one exists, nothing is fetched.
        size: Size of the file in bytes, or None if it is unknown.
        checksum: ``md5:...`` or ``sha256:...``, or None if its owner published none.
        by_hand: How you get it if no address works, e.g. by an owner's form; ``{name}`` and
            ``{directory}`` are filled in.
    """

    name: str
    urls: tuple[str, ...]
    folder: str = ""
    present: tuple[str, ...] = ()
    size: int | None = None
    checksum: str | None = None
    by_hand: str = ""


class DownloadError(DataError):
    """A file could not be fetched; the message says from where and what to do."""


def problem_with(resource: Resource, path: Path) -> str:
    """What is wrong with a fetched file; empty when nothing is."""
    size = path.stat().st_size
    if resource.size is not None and size != resource.size:
        return f"{counted(size, 'byte')} instead of {resource.size:,}"
    if resource.checksum is not None:
        algorithm, _, wanted = resource.checksum.partition(":")
        found = hash_file(path, hashlib.new(algorithm)).hexdigest()
        if found != wanted:
            return f"{algorithm} {found} instead of {wanted}"
    return ""


def fetch(resource: Resource, directory: Path) -> Path:
    """Downloads a file unless it is already there, whole.

    Args:
        resource: The file to fetch.
        directory: Directory where it goes. It is named ``<name>.part`` until it is whole.

    Returns:
        The path of the file.

    Raises:
        DownloadError: If no address gave the file whole.
        NotEnoughSpaceError: If the disk cannot hold it.
    """
    target, part = directory / resource.name, directory / f"{resource.name}.part"
    if target.is_file():
        problem = problem_with(resource, target)
        if not problem:
            logging.info(f"{target}: there already")
            return target
        logging.warning(f"{target}: {problem}; fetching it again")
        target.unlink()
    directory.mkdir(parents=True, exist_ok=True)
    rest = max(0, (resource.size or 0) - _size(part))
    require_space(directory, rest, what=f"The rest of {resource.name}")
    failures = []
    for url in resource.urls:
        problem = _fetch_from(url, resource, part)
        if not problem:
            os.replace(part, target)
            logging.info(f"{target}: {size_text(_size(target))}, complete")
            return target
        logging.warning(f"{url}: {problem}")
        failures.append(f"\n  {url}: {problem}")
    by_hand = resource.by_hand or "fetch it by other means and put it into {directory}"
    by_hand = by_hand.format(name=resource.name, directory=directory)
    raise DownloadError(f"{resource.name} could not be fetched:{''.join(failures)}\n{by_hand}")


def _fetch_from(url: str, resource: Resource, part: Path) -> str:
    """Fetches the rest of a file from one address; returns what went wrong."""
    stalled = 0
    while True:
        before = _size(part)
        try:
            _append(url, resource, part)
        except urllib.error.HTTPError as error:
            if error.code != 416:  # 416: there is nothing after what we have
                return f"HTTP {error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            stalled = 0 if _size(part) > before else stalled + 1
            if stalled == _ATTEMPTS:
                return str(getattr(error, "reason", error)) or type(error).__name__
            time.sleep(0.1 * 2**stalled)
            continue
        problem = problem_with(resource, part)
        if problem:
            part.unlink()  # another file than expected
        return problem


def _append(url: str, resource: Resource, part: Path) -> None:
    done = _size(part)
    headers = {"User-Agent": "speechclip-plus"} | ({"Range": f"bytes={done}-"} if done else {})
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
        if done and response.status != 206:
            logging.info(f"{url}: cannot continue in the middle; starting again")
            done = 0
        length = response.headers.get("Content-Length")
        expected = done + int(length) if length else resource.size
        chunks = progress(
            iter(lambda: response.read(_CHUNK), b""),
            description=resource.name,
            total=math.ceil((expected - done) / _CHUNK) if expected else None,
            unit="MiB",
        )
        with part.open("ab" if done else "wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
    if expected is not None and _size(part) < expected:
        raise OSError(f"the connection ended after {_size(part):,} of {counted(expected, 'byte')}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
