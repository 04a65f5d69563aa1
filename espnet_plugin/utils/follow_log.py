"""Show the progress of a job by its log file."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator

EPOCH = re.compile(r"(\d+/\d+)epoch started(?:.*time to finish: (\d+)[\d.]* (\w+))?")
BATCH = re.compile(r"\d+epoch:train:\d+-(\d+)batch: .*?\bloss=([\d.e+-]+)")
LEFT_OUT = re.compile(r"update left out, (\d+) in this epoch")
RESULT = re.compile(r"\d+epoch results: .*\[valid\](.*)")
COUNT = re.compile(r"INFO: (.*: [\d,]+(?:/[\d,]+)? \S+ after \d.*)$")
SPACE = re.compile(r"INFO: (.* need .* more; .* free in .*)$")
MEASURE = re.compile(r"(?<![a-z_])(recall_mean_at_(?:1|10)=[\d.]+)")
FIRST_INTERVAL, INTERVAL = 2.0, 30.0  # seconds between lines without a terminal: doubling


class Status:
    """The latest line about a job's progress.

    Attributes:
        text: What to show.
    """

    def __init__(self) -> None:
        self.text = self._epoch = self._time = self._left_out = ""

    def feed(self, line: str) -> str | None:
        """Takes a line of the log; returns a message that should stay on the screen, or None."""
        batch = ""
        if match := EPOCH.search(line):
            self._epoch, number, unit = match.groups()
            self._time = f", about {number} {unit} left" if number else ""
            self._left_out = ""
        elif match := BATCH.search(line):
            batch = " batch {} loss {}".format(*match.groups())
        elif match := LEFT_OUT.search(line):
            number = int(match[1])
            self._left_out = f", {number} update{'s' * (number > 1)} left out (not finite)"
        elif match := RESULT.search(line):
            measures = " ".join(MEASURE.findall(match[1]))
            return f"epoch {self._epoch}: {measures}" if measures else None
        elif match := SPACE.search(line):
            return match[1]
        else:
            if match := COUNT.search(line):
                self.text = match[1]
            return None
        self.text = f"epoch {self._epoch}{batch}{self._left_out}{self._time}"
        return None


def lines_of(path: str) -> Iterator[str | None]:
    """Yields the lines that are added to a file, None while there is no new line."""
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
    """Shows a job's progress on stderr until the calling process ends.

    On a terminal one line is rewritten; elsewhere a line appears now and then. The log of an
    earlier run is not shown.

    Args:
        path: The job's log; it may appear later.
    """
    with contextlib.suppress(KeyboardInterrupt):
        _follow(path)


def _follow(path: str) -> None:
    parent = os.getppid()
    status, shown, last, interval = Status(), "", 0.0, FIRST_INTERVAL
    terminal = sys.stderr.isatty()
    for line in lines_of(path):
        message = status.feed(line) if line is not None else None
        if message:
            clear = "\r\033[K" if terminal else ""
            print(f"{clear}  {message}", file=sys.stderr, flush=True)
        if line is not None:
            continue
        if status.text != shown:
            if terminal:
                width = shutil.get_terminal_size().columns - 1
                shown = status.text
                print(f"\r\033[K  {shown}"[: width + 4], end="", file=sys.stderr, flush=True)
            elif time.monotonic() - last > interval:
                shown, last, interval = status.text, time.monotonic(), min(2 * interval, INTERVAL)
                print(f"  {shown}", file=sys.stderr, flush=True)
        time.sleep(0.5)
        if os.getppid() != parent:
            return
