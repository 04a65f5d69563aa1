"""Starting a command and killing everything that it has started, at a chosen moment."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_POLL_SECONDS = 0.001


@dataclass(frozen=True)
class Moment:
    """When to kill.

    Attributes:
        file: Once this file, relative to the command's folder, is not as before; None: at once.
        sibling: Once a temporary file beside it appears, instead.
        delay: So many seconds later.
        latest: So many seconds after the start, should the file not have appeared.
    """

    file: str | None
    sibling: bool
    delay: float
    latest: float

    def __str__(self) -> str:
        if self.file is None:
            return f"{self.delay:.2f} s after the start"
        what = "the temporary file of " if self.sibling else ""
        return f"{self.delay * 1000:.0f} ms after {what}{self.file} appeared"


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code; None: it was killed.
        killed: When.
    """

    code: int | None
    killed: str = ""


def choose_moments(
    chance: random.Random, number: int, files: Sequence[str], seconds: float
) -> list[Moment]:
    """A third of the kills come at any time, the others when something is written.

    Args:
        chance: What decides.
        number: How many.
        files: What the undisturbed command wrote, in that order.
        seconds: How long it took.

    Returns:
        The earliest in the work of the command first: a command goes on where it was killed.
    """
    moments: list[tuple[float, Moment]] = []
    for _ in range(number):
        share = chance.random()
        if not files or chance.random() < 1 / 3:
            moment = Moment(None, False, share * seconds, seconds)
        else:
            delay = chance.choice([0.0, 0.002, chance.expovariate(1 / 0.1)])
            latest = chance.uniform(1.0, 2.0) * seconds
            file = files[int(share * len(files))]
            moment = Moment(file, chance.random() < 0.5, delay, latest)
        moments.append((share, moment))
    return [moment for _, moment in sorted(moments, key=lambda pair: pair[0])]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.lstat()
    except OSError:
        return None
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size)


def _temporaries(path: Path) -> set[str]:
    try:
        names = os.listdir(path.parent)
    except OSError:
        return set()
    return {name for name in names if name.startswith(".") and path.stem.lstrip(".") in name}


def _members(sessions: set[int]) -> set[int]:
    """Process groups of the running processes in sessions."""
    groups = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, group, session = stat[0], int(stat[2]), int(stat[3])
        if session in sessions and state not in "ZX":
            groups.add(group)
    return groups


def _kill_sessions(sessions: set[int]) -> None:
    while groups := _members(sessions):
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


def kill_all(session: int, forked: Path | None) -> None:
    """Kills every process of a session, and those that ``warm_python`` forked for it."""
    _kill_sessions({session})
    if forked is not None:
        files = list(forked.iterdir())
        owned = {int(f.name) for f in files if f.exists() and f.read_text() == str(session)}
        _kill_sessions(owned)


def run_and_kill(
    command: Sequence[str],
    moment: Moment | None,
    *,
    folder: Path,
    environment: Mapping[str, str],
    output: Path,
    forked: Path | None = None,
) -> Ended:
    """Runs a command, and kills it at a moment.

    Args:
        command: What to run.
        moment: When to kill; None: it is left alone.
        folder: Where it runs.
        environment: Its variables.
        output: Gets what it prints.
        forked: sessions/ of ``warm_python``.
    """
    target = folder / moment.file if moment and moment.file else None
    before = _stamp(target) if target else None
    beside = _temporaries(target) if target else set()
    with output.open("w") as stream:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    begin = time.monotonic()
    try:
        if moment is None:
            return Ended(process.wait())
        while target is not None:
            appeared = _temporaries(target) - beside if moment.sibling else _stamp(target) != before
            if appeared:
                break
            if process.poll() is not None:
                return Ended(process.returncode)
            if time.monotonic() - begin > moment.latest:
                return Ended(None, f"{moment.latest:.2f} s after the start")
            time.sleep(_POLL_SECONDS)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return Ended(process.wait(moment.delay))
        return Ended(None, str(moment))
    finally:
        kill_all(process.pid, forked)
        process.wait()
