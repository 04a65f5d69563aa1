"""What the benchmarks share: rows, time and memory of a process."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIB = 2**30
MINI = Path(__file__).parents[1] / "egs2" / "speechclip_plus" / "downloads" / "mini"
# A process begins with the peak of the one that started it, so a small one comes between.
_IN_BETWEEN = """
import json, resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as stream:
    json.dump({"cpu_seconds": usage.ru_utime + usage.ru_stime,
               "peak": usage.ru_maxrss * 1024}, stream)
sys.exit(code)
"""


class MissingInputError(Exception):
    """A benchmark needs a missing file; the message names it and how to get it."""


@dataclass(frozen=True)
class Settings:
    """Settings of every benchmark.

    Attributes:
        work_dir: An empty folder for its files.
        quick: Tiny sizes, to check that it runs; the numbers are meaningless.
        threads: Threads of PyTorch and NumPy.
        mini: The generated corpus after ``make demo``, ``downloads/mini``.
        vectors: Number of vectors that are searched.
    """

    work_dir: Path
    quick: bool = False
    threads: int = 1
    mini: Path = MINI
    vectors: int = 1_000_000


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of measurements."""

    median: float
    low: float
    high: float
    turns: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarises at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: The measured thing, with its size.
        ours: Our measurement in seconds.
        baseline: That of the obvious form.
        baseline_is: Describes the obvious form.
        bound: That of a part which every solution must do.
        bound_is: Describes that part.
        note: A remark.
    """

    what: str
    ours: Spread
    baseline: Spread | None = None
    baseline_is: str = ""
    bound: Spread | None = None
    bound_is: str = ""
    note: str = ""


@dataclass(frozen=True)
class Usage:
    """Cost of a command; ``peak`` is the resident memory of its largest process in bytes."""

    cpu_seconds: float
    peak: int


def usage_of(command: Sequence[object], **options: Any) -> Usage:
    """Runs a command in its own process and measures it.

    Args:
        command: Program and arguments.
        options: Options of ``subprocess.run``, such as the folder.

    Raises:
        subprocess.CalledProcessError: The command failed.
    """
    with tempfile.NamedTemporaryFile("r", suffix=".json") as file:
        wrapped = [sys.executable, "-c", _IN_BETWEEN, file.name, *map(str, command)]
        subprocess.run(wrapped, check=True, **options)
        return Usage(**json.load(file))


def peak_memory() -> int:
    """Returns this process's peak resident memory in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux
