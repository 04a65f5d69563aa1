"""Fetch a corpus: resumable, checked, from mirrors, unpacked safely.

A download that was cut off goes on where it stopped. A file takes its name only when its size and
checksum are right, and an archive counts as unpacked only when all of it was.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from espnet_plugin.data.scp import DataError
from espnet_plugin.utils.disk import human_size, require_space

_CHUNK = 1 << 20
_TIMEOUT = 60  # seconds without a byte
_ATTEMPTS = 5  # per address, as long as no attempt brings the file further


@dataclass(frozen=True)
class Resource:
    """A file to be fetched.

    Attributes:
        name: File name here.
        urls: Where it lies, the owner's address first.
        size: Bytes, None when unknown.
        checksum: ``md5:...`` or ``sha256:...``; None when its owner published none. Then the
            checksums inside the archive are what is checked, when it is unpacked.
        by_hand: Where a person gets it when no address works, e.g. an owner's form.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    checksum: str | None = None
    by_hand: str = ""


class DownloadError(DataError):
    """A file could not be fetched; the message says from where and what to do."""


def file_checksum(path: Path, algorithm: str) -> str:
    """Hex digest of a file, a megabyte at a time."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def problem_with(resource: Resource, path: Path) -> str:
    """What is wrong with a fetched file; empty when nothing is."""
    size = path.stat().st_size
    if resource.size is not None and size != resource.size:
        return f"{size:,} bytes instead of {resource.size:,}"
    if resource.checksum is not None:
        algorithm, _, wanted = resource.checksum.partition(":")
        found = file_checksum(path, algorithm)
        if found != wanted:
            return f"{algorithm} {found} instead of {wanted}"
    return ""


def fetch(
    resource: Resource, directory: Path, *, opener: Callable[..., object] | None = None
) -> Path:
    """Downloads a file unless it is there already, whole.

    Args:
        resource: What to fetch.
        directory: Where it goes; ``<name>.part`` lies there meanwhile.
        opener: Stands in for ``urllib.request.urlopen``.

    Returns:
        The file.

    Raises:
        DownloadError: No address gave the file whole.
        NotEnoughSpaceError: The disk cannot hold it.
    """
    target = directory / resource.name
    if target.is_file():
        problem = problem_with(resource, target)
        if not problem:
            logging.info(f"{target}: there already")
            return target
        logging.warning(f"{target}: {problem}; fetching it again")
        target.unlink()
    directory.mkdir(parents=True, exist_ok=True)
    part = directory / f"{resource.name}.part"
    if resource.size is not None:
        have = part.stat().st_size if part.exists() else 0
        require_space(directory, max(0, resource.size - have), what=f"The rest of {resource.name}")
    failures = []
    for url in resource.urls:
        problem = _fetch_from(url, resource, part, opener or urllib.request.urlopen)
        if not problem:
            os.replace(part, target)
            logging.info(f"{target}: {human_size(target.stat().st_size)}, complete")
            return target
        logging.warning(f"{url}: {problem}")
        failures.append(f"{url}: {problem}")
    tried = "\n  ".join(failures)
    by_hand = resource.by_hand or f"fetch it by other means and put it into {directory}"
    raise DownloadError(f"{resource.name} could not be fetched:\n  {tried}\n{by_hand}")


def _fetch_from(url: str, resource: Resource, part: Path, opener: Callable[..., object]) -> str:
    """Fetches the rest of a file from one address; returns what went wrong."""
    stalled = 0
    problem = ""
    while stalled < _ATTEMPTS:
        before = part.stat().st_size if part.exists() else 0
        if resource.size is None or before < resource.size:
            try:
                _append(url, resource, part, opener)
                problem = ""
            except urllib.error.HTTPError as error:
                if error.code != 416:  # 416: there is nothing after what we have
                    return f"HTTP {error.code} {error.reason}"
            except (OSError, http.client.HTTPException) as error:
                problem = str(getattr(error, "reason", error)) or type(error).__name__
                if isinstance(getattr(error, "reason", None), socket.gaierror):
                    return problem  # no such host, or no network: asking again will not help
        if not problem and part.exists():
            wrong = problem_with(resource, part)
            if not wrong:
                return ""
            # another file than expected: nothing in it can be relied on
            part.unlink()
            return wrong
        after = part.stat().st_size if part.exists() else 0
        stalled = 0 if after > before else stalled + 1
        if after <= before:
            time.sleep(0.1 * 2**stalled)
    return problem or "nothing came"


def _append(url: str, resource: Resource, part: Path, opener: Callable[..., object]) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "speechclip-plus"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)
    with opener(request, timeout=_TIMEOUT) as response:  # type: ignore[attr-defined]
        resumed = getattr(response, "status", 200) == 206
        length = response.headers.get("Content-Length")
        expected = int(length) + (have if resumed else 0) if length else resource.size
        if have and not resumed:
            logging.info(f"{url}: cannot go on in the middle; starting again")
        done = have if resumed else 0
        with part.open("ab" if resumed else "wb") as stream:
            for chunk in _shown(_chunks(response), resource.name, done, expected):
                stream.write(chunk)
    size = part.stat().st_size
    if expected is not None and size < expected:
        raise OSError(f"the connection ended after {human_size(size)} of {human_size(expected)}")


def _chunks(response: object) -> Iterator[bytes]:
    while chunk := response.read(_CHUNK):  # type: ignore[attr-defined]
        yield chunk


def _shown(
    chunks: Iterator[bytes], name: str, done: int, total: int | None, *, log_every: float = 15.0
) -> Iterator[bytes]:
    """Passes chunks on and says how far the file is, with sizes and speed."""
    bar = None
    if sys.stderr.isatty():
        from tqdm import tqdm

        bar = tqdm(total=total, initial=done, desc=name, unit="B", unit_scale=True)
    started = last = time.monotonic()
    begun = done
    of = f" of {human_size(total)}" if total else ""
    if bar is None:
        logging.info(f"{name}: {human_size(done)}{of}")
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        now = time.monotonic()
        if bar is not None:
            bar.update(len(chunk))
        elif now - last >= log_every:
            last = now
            speed = (done - begun) / max(now - started, 1e-9)
            logging.info(f"{name}: {human_size(done)}{of}, {human_size(speed)}/s")
    if bar is not None:
        bar.close()
