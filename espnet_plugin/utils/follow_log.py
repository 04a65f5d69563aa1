"""Show how far a job is that writes into a log file."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator

EPOCH = re.compile(r"(\d+)/(\d+)epoch started")
BATCH = re.compile(r"(\d+)epoch:train:\d+-(\d+)batch: .*?\bloss=([\d.e+-]+)")
LEFT_OUT = re.compile(r"update left out, (\d+) in this epoch")
RESULT = re.compile(r"(\d+)epoch results: (.*)")
COUNT = re.compile(r"INFO: (.*: [\d,]+(?:/[\d,]+)? \S+ after \d.*)$")
SPACE = re.compile(r"INFO: (.* need .* more; .* free in .*)$")
MEASURE = re.compile(r"(?<![a-z_])(recall_mean_at_(?:1|10))=([\d.]+)")
FIRST_INTERVAL, INTERVAL = 2.0, 30.0  # seconds between lines where there is no terminal: doubling


class Status:
    """The latest thing worth showing, and the things worth a line of their own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.text = self.left_out = ""
        self.clock = clock
        self.started = 0.0
        self.first = self.epoch = self.epochs = 0
        self.batch = self.batches = 0  # the last one told of, in this epoch and in the one before

    def feed(self, line: str) -> str | None:
        """Takes a line of the log; returns a message that should stay on the screen, or None."""
        if match := EPOCH.search(line):
            self.epoch, self.epochs = map(int, match.groups())
            self.batch, self.batches = 0, self.batch
            self.left_out = ""
            if not self.first:
                self.first, self.started = self.epoch, self.clock()
            self.text = f"epoch {self.epoch}/{self.epochs}{self.remaining()}"
        elif match := BATCH.search(line):
            epoch, batch, loss = match.groups()
            self.batch = int(batch)
            self.text = (
                f"epoch {epoch}/{self.epochs} batch {batch} loss {loss}"
                f"{self.left_out}{self.remaining()}"
            )
        elif match := LEFT_OUT.search(line):
            number = int(match.group(1))
            self.left_out = f", {number} update{'s' * (number > 1)} left out (not finite)"
            self.text = f"epoch {self.epoch}/{self.epochs}{self.left_out}{self.remaining()}"
        elif match := RESULT.search(line):
            measures = " ".join(
                f"{name}={value}" for name, value in MEASURE.findall(line.partition("[valid]")[2])
            )
            if measures:
                return f"epoch {match.group(1)}/{self.epochs}: {measures}"
        elif match := SPACE.search(line):
            return match.group(1)
        elif match := COUNT.search(line):
            self.text = match.group(1)
        return None

    def remaining(self) -> str:
        """How long training still takes if it goes on as so far; empty in the first epoch."""
        done = self.epoch - self.first
        if not done:
            return ""
        if self.batches:
            done += min(self.batch / self.batches, 1)
        left = (self.clock() - self.started) * (self.epochs - self.first + 1 - done) / done
        return f", {rough_duration(left)} left"


def rough_duration(seconds: float) -> str:
    """Says a time as precisely as an estimate deserves."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    if minutes == 1:
        return "about a minute"
    return f"about {minutes} minutes" if minutes < 120 else f"about {round(minutes / 60)} hours"


def lines_of(path: str) -> Iterator[str | None]:
    """Yields the lines that are added to a file, None when there is none at the moment."""
    started = time.time()
    while not (os.path.exists(path) and os.path.getmtime(path) >= started):
        yield None
    with open(path, encoding="utf-8", errors="replace") as stream:
        part = ""
        while True:
            part += stream.readline()
            if part.endswith("\n"):
                yield part.rstrip("\n")
                part = ""
            else:
                yield None


def follow_log(path: str) -> None:
    """Shows on stderr how far a job is, until the process that wanted it is gone.

    A terminal gets one line that is rewritten, anything else a line now and then. A log that nobody
    has written to since this started is an earlier run's and is not shown.

    Args:
        path: The job's log; it may come later.
    """
    with contextlib.suppress(KeyboardInterrupt):
        _follow(path)


def _follow(path: str) -> None:
    parent = os.getppid()
    status, shown, last, interval = Status(), "", 0.0, FIRST_INTERVAL
    terminal = sys.stderr.isatty()
    for line in lines_of(path):
        message = status.feed(line) if line is not None else None
        if terminal:
            width = shutil.get_terminal_size().columns - 1
            if message:
                print(f"\r\033[K  {message}", file=sys.stderr)
            if line is None and status.text != shown:
                shown = status.text
                print(f"\r\033[K  {shown}"[: width + 4], end="", file=sys.stderr, flush=True)
        elif message:
            print(f"  {message}", file=sys.stderr, flush=True)
        elif line is None and status.text != shown and time.monotonic() - last > interval:
            shown, last, interval = status.text, time.monotonic(), min(2 * interval, INTERVAL)
            print(f"  {shown}", file=sys.stderr, flush=True)
        if line is None:
            time.sleep(0.5)
            if os.getppid() != parent:  # the script that wanted this is gone
                return
