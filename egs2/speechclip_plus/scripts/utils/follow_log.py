"""Show how far a job is that writes into a log file: follow_log.py LOG, until it is killed.

A terminal gets one line that is rewritten, anything else a line now and then.
"""

import os
import re
import shutil
import sys
import time

EPOCH = re.compile(r"(\d+)/(\d+)epoch started\.?(?: Estimated time to finish: (.*))?")
BATCH = re.compile(r"(\d+)epoch:train:\d+-(\d+)batch: .*?\bloss=([\d.e+-]+)")
RESULT = re.compile(r"(\d+)epoch results: (.*)")
COUNT = re.compile(r"INFO: (.*: \d+(?:/\d+)? \S+ after \d+ s)$")
SPACE = re.compile(r"INFO: (.* need .* more; .* free in .*)$")
MEASURE = re.compile(r"(?<![a-z_])(recall_mean_at_(?:1|10))=([\d.]+)")
INTERVAL = 30.0  # seconds between lines where there is no terminal


class Status:
    """The latest thing worth showing, and the things worth a line of their own."""

    def __init__(self) -> None:
        self.epochs = ""
        self.remaining = ""
        self.text = ""

    def feed(self, line: str) -> str | None:
        """Takes a line of the log; returns a message that should stay on the screen, or None."""
        if match := EPOCH.search(line):
            epoch, self.epochs, remaining = match.groups()
            self.remaining = f", about {remaining} left" if remaining else ""
            self.text = f"epoch {epoch}/{self.epochs}{self.remaining}"
        elif match := BATCH.search(line):
            epoch, batch, loss = match.groups()
            self.text = f"epoch {epoch}/{self.epochs} batch {batch} loss {loss}{self.remaining}"
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


def lines_of(path: str):
    """Yields the lines that are added to a file, None when there is none at the moment."""
    while not os.path.exists(path):
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


def main() -> None:
    status, shown, last = Status(), "", 0.0
    terminal = sys.stderr.isatty()
    for line in lines_of(sys.argv[1]):
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
        elif line is None and status.text != shown and time.monotonic() - last > INTERVAL:
            shown, last = status.text, time.monotonic()
            print(f"  {shown}", file=sys.stderr, flush=True)
        if line is None:
            time.sleep(0.5)
            if os.getppid() == 1:  # the script that wanted this is gone
                return


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
