"""The frame that all commands have."""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import sys
from collections.abc import Iterator

_FULL = "the disk is full; free some space and start again, what is finished is kept"
_DISK = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL.replace("disk", "quota"),
    errno.EROFS: "the file system is read-only; mount it for writing, or choose another folder",
    errno.EACCES: "no permission; choose another folder, or ask its owner",
}
LOG_FORMAT = "%(asctime)s %(levelname)s: %(message)s"


@contextlib.contextmanager
def command_errors(name: str) -> Iterator[None]:
    """Logs to stderr; bad input ends the command with one message and exit code 1.

    Example:
        >>> @command_errors("show_sweep")
        ... def main(cmd: Sequence[str] | None = None) -> None: ...

    Args:
        name: Of the command, which the message begins with.
    """
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        logging.debug(f"{name} failed", exc_info=True)
        sys.exit(f"{name}: error: {_message(error)}")


@contextlib.contextmanager
def disk_errors(name: str) -> Iterator[None]:
    """Ends a command whose disk is full or read-only with one message; other errors go on.

    Args:
        name: Of the command, which the message begins with.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        sys.exit(f"{name}: error: {_message(error)}")


def add_trust_argument(parser: argparse._ActionsContainer) -> None:
    """Adds ``--trust_remote_code`` to a command that loads a model."""
    parser.add_argument(
        "--trust_remote_code",
        action="store_true",
        help="whoever made the model is trusted: what it names may run code that comes with it",
    )


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f"{error.filename}: " if error.filename else ""
        return where + _DISK[error.errno]
    text = str(error).strip()
    # from a data worker the message comes as the last line of a traceback
    return text.splitlines()[-1] if "\nOriginal Traceback" in text else text
