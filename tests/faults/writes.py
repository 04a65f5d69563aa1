"""Counts what Python writes, from inside it, and stops at the write that was chosen.

``tests.faults.kills`` lets every Python of a run call ``watch``. What Python's audit hooks report
(https://docs.python.org/3/library/audit_events.html) and SQLite's statements are noted in a log,
each under a name that comes again in another run: numbers in it become ``#``.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import re
import resource
import signal
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VARIABLE = "FAULTS_WRITES"
_LOGS = re.compile(r"(^|/)(logs|tensorboard|__pycache__)/|\.(log|lock)$")
# process ids, hashes of folders and media, random parts of temporary names, times
_VARIES = re.compile(r"[0-9a-f]{16}|(?<=/)[0-9a-f]{2}(?=/|$)|(?<=\.part)[a-z0-9_]{8}|\d+")
_STATEMENTS = ("BEGIN", "COMMIT", "CREATE", "DELETE", "INSERT", "UPDATE")
_TEMPORARY = re.compile(r"^\.(.+)\.#\.part#?")  # of espnet_plugin.utils.atomic
_WRITING = os.O_WRONLY | os.O_RDWR
_EVENTS: dict[str, Callable[[tuple[Any, ...]], tuple[Any, Any, int]]] = {
    # what is there before, what is there then, the folder that both are relative to
    "open": lambda a: (a[0], a[0], -1),
    "os.rename": lambda a: (a[0], a[1], a[3]),
    "os.link": lambda a: (a[0], a[1], a[3]),
    "os.symlink": lambda a: (a[1], a[1], a[2]),
    "os.mkdir": lambda a: (a[0], a[0], a[2]),
    "os.rmdir": lambda a: (a[0], a[0], a[1]),
    "os.remove": lambda a: (a[0], a[0], a[1]),
    "os.truncate": lambda a: (a[0], a[0], -1),
}


@dataclass(frozen=True)
class Write:
    """Something that is about to be written.

    Attributes:
        kind: What and where, in names that come again.
        path: The file that is written or renamed.
        size: Of that file, so far, in bytes; 0 when there is none.
    """

    kind: str
    path: str = ""
    size: int = 0

    @property
    def file(self) -> str:
        """The name of the file that this is about, or whose temporary file it is."""
        event, _, name = self.kind.partition(" ")
        return event if event == "sql" else _TEMPORARY.sub(r"\1", os.path.basename(name))


def read_writes(log: Path) -> list[Write]:
    """What was written, in that order."""
    return [Write(**json.loads(line)) for line in log.read_text().splitlines()]


def watch() -> None:
    """Notes what this process and its forks write, if the process that started it asks for it.

    The variable says so in JSON. ``folder``: only what is written below it counts; ``log``: gets a
    line for each write; ``told``: a named pipe that gets a line at the chosen one. That is the
    write of a ``kind`` that comes as the ``occurrence``-th in the log; there the process stops, or
    writes until a file would get larger than ``limit`` bytes, if that is a number.
    """
    if VARIABLE not in os.environ:
        return
    wanted = json.loads(os.environ[VARIABLE])
    log = os.open(wanted["log"], os.O_RDWR | os.O_APPEND | os.O_CREAT)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)

    def note(write: Write) -> None:
        if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
            return  # the end is near
        os.write(log, json.dumps(asdict(write)).encode() + b"\n")
        if write.kind == wanted["kind"]:
            noted = os.pread(log, os.fstat(log).st_size, 0)
            same = noted.count(f'"kind": {json.dumps(write.kind)},'.encode())
            if same >= wanted["occurrence"]:
                _stop(wanted["told"], wanted["limit"])

    def statement(text: str) -> None:
        word = text.split(maxsplit=1)[0].upper()
        if word in _STATEMENTS:
            note(Write(f"sql {word}"))

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = open_database(*arguments, **options)
        connection.set_trace_callback(statement)
        return connection

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _EVENTS and (write := _write(event, arguments, wanted["folder"])):
            note(write)

    open_database, sqlite3.connect = sqlite3.connect, connect
    sys.addaudithook(hook)


def _write(event: str, arguments: tuple[Any, ...], folder: str) -> Write | None:
    if event == "open" and not arguments[2] & _WRITING:
        return None
    source, target, descriptor = _EVENTS[event](arguments)
    if isinstance(target, int):
        return None
    base = os.getcwd() if descriptor == -1 else os.readlink(f"/proc/self/fd/{descriptor}")
    source, target = (
        os.path.normpath(os.path.join(base, os.fsdecode(path))) for path in (source, target)
    )
    name = os.path.relpath(target, folder)
    made_already = event == "os.mkdir" and os.path.isdir(target)
    if name.startswith("..") or _LOGS.search(name) or made_already:
        return None
    size = 0
    with contextlib.suppress(OSError):
        emptied = event == "open" and (arguments[2] & os.O_TRUNC or "w" in (arguments[1] or ""))
        size = 0 if emptied else os.path.getsize(source)
    return Write(f"{event.removeprefix('os.')} {_VARIES.sub('#', name)}", source, size)


def _stop(pipe: str, limit: int | None) -> None:
    told = os.open(pipe, os.O_WRONLY)
    if limit is None:
        os.write(told, b"stopped\n")
        os.kill(os.getpid(), signal.SIGSTOP)
        return
    # The kernel ends this process inside the call that writes beyond the limit, which libraries
    # cannot distinguish from SIGKILL; with its last breath it says where it was.
    faulthandler.register(signal.SIGXFSZ, file=told, all_threads=False, chain=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
