"""What the benchmarks share: time and memory of a process, and the table that each prints."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

GIB = 2**30
RECIPE = Path(__file__).parents[1] / "egs2" / "speechclip_plus"
MODEL = RECIPE / "exp" / "speechclip_mini_hybrid_plus"  # after make demo
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


def parser_of(text: str) -> argparse.ArgumentParser:
    """A benchmark's command line, described by the first line of its docstring."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run?")
    return parser


def spread(seconds: Sequence[float]) -> str:
    """Median with its unit, and the least and the most where there are several."""
    factor, unit = (1, "s") if statistics.median(seconds) >= 1 else (1000, "ms")
    low, middle, high = (
        f"{factor * value:.3g}"
        for value in (min(seconds), statistics.median(seconds), max(seconds))
    )
    return f"{middle} {unit}" + (f" ({low}–{high})" if len(seconds) > 1 else "")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints machine and date, and a table of texts as GitHub writes it."""
    import torch

    cpu = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpu.read_text()) if cpu.exists() else None
    processor = found[1] if found else platform.processor() or platform.machine()
    print(
        f"\n{processor}, {torch.get_num_threads()} of {os.cpu_count()} cores, "
        f"PyTorch {torch.__version__}, Python {platform.python_version()}, {date.today()}\n"
    )
    for line in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(line) + " |")
