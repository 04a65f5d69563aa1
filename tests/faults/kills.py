"""Starting a command and killing everything that it has started, at a chosen moment."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import select
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.writes import VARIABLE, Write


def kill_command(kill: Callable[..., object], description: str) -> None:
    """Runs a function of a folder, ``kills`` and ``seed`` by the options of the command line."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kill(options.work, kills=options.kills, seed=options.seed)


@dataclass(frozen=True)
class Moment:
    """When to kill.

    Attributes:
        share: How much of the command's work is done then, about.
        kind: Of the write that is waited for; empty: none.
        occurrence: Of that kind, counting from 1.
        limit: Once so many bytes of the file are there; None: before the write.
        seconds: After the start, if no write is waited for; None: never.
    """

    share: float = 0.0
    kind: str = ""
    occurrence: int = 0
    limit: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        if not self.kind:
            return f"{self.seconds:.2f} s after the start"
        where = "before" if self.limit is None else f"{self.limit} bytes into"
        return f"{where} {self.kind} ({self.occurrence})"


def targets(writes: Sequence[Write], chance: random.Random) -> Iterator[Moment]:
    """Moments at the writes of an undisturbed command, without end: each file once before any comes
    again."""
    places: dict[str, list[int]] = {}
    for place, write in enumerate(writes):
        places.setdefault(write.file, []).append(place)
    order = sorted(places)
    chance.shuffle(order)
    for file in itertools.cycle(order):
        place = chance.choice(places[file])
        kind = writes[place].kind
        occurrence = sum(write.kind == kind for write in writes[: place + 1])
        limit = None
        if kind.startswith("open ") and chance.random() < 0.75:
            limit = _inside(writes, place, chance)
        yield Moment(place / len(writes), kind, occurrence, limit)


def _inside(writes: Sequence[Write], place: int, chance: random.Random) -> int | None:
    """A size between those of a file before and after it was written; None: it did not grow."""
    begin = writes[place]
    after = [write.size for write in writes[place + 1 :] if write.path == begin.path]
    with contextlib.suppress(FileNotFoundError):
        after.append(os.path.getsize(begin.path))
    grown = after[0] - begin.size if after else 0
    if grown <= 0:
        return None
    return begin.size + chance.choice([0, grown // 2, grown - 1, chance.randrange(grown)])


def run_and_kill(
    command: Sequence[str],
    moment: Moment,
    *,
    folder: Path,
    environment: Mapping[str, str],
    notes: Path,
) -> int | None:
    """Runs a command, and kills it at a moment.

    Args:
        command: What to run.
        moment: When to kill.
        folder: Where it runs, and all that it starts.
        environment: Its variables.
        notes: Folder for what it prints ("output") and what it writes ("writes").

    Returns:
        Its exit code; None: it was killed.
    """
    told = notes / "told"
    os.mkfifo(told)
    listening = os.open(told, os.O_RDWR | os.O_NONBLOCK)
    paths = {"folder": str(folder), "log": str(notes / "writes"), "told": str(told)}
    with (notes / "output").open("w") as stream:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, VARIABLE: json.dumps({**asdict(moment), **paths})},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    ending = os.pidfd_open(process.pid)
    try:
        ready, _, _ = select.select([listening, ending], [], [], moment.seconds)
        return process.wait() if ready == [ending] else None
    finally:
        kill_all(folder)
        process.wait()
        os.close(ending)
        os.close(listening)
        told.unlink()


def kill_all(folder: Path) -> None:
    """Kills every process that runs in a folder or below it, until there is none."""
    while processes := _running_in(folder):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def _running_in(folder: Path) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # it has just ended
                if Path(os.readlink(f"/proc/{entry}/cwd")).is_relative_to(folder):
                    found.append(int(entry))
    return found
