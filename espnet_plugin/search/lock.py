"""One writer at a time; the kernel frees the lock of a process that was killed."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from espnet_plugin.data.scp import DataError

LOCK = "lock"


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Holds a directory's lock file.

    Raises:
        DataError: When another process holds it; the message says which.
    """
    with (directory / LOCK).open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            raise DataError(
                f"{directory} is being written by {stream.read().strip() or 'another process'}; "
                "wait until it is done, or stop it"
            ) from None
        stream.truncate(0)
        now = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
        stream.write(f"process {os.getpid()} of {_user()} on {socket.gethostname()} since {now}")
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"user {os.getuid()}"
