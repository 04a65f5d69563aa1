"""One writer at a time."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from espnet_plugin.data.scp import DataError

LOCK = "lock"


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Holds a directory's lock file, which a killed process frees.

    Raises:
        DataError: When another process holds it; the message names that process.
    """
    path = directory / LOCK
    try:
        held = FileLock(path).acquire(timeout=0)
    except Timeout:
        holder = path.read_text(encoding="utf-8") or "another process"
        raise DataError(
            f"{directory} is being written by {holder}; wait until it is done, or stop it"
        ) from None
    with held:
        now = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
        path.write_text(
            f"process {os.getpid()} on {socket.gethostname()} since {now}", encoding="utf-8"
        )
        yield
