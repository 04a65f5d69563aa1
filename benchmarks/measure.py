"""What the benchmarks share: time and memory of a process, and the table that each prints."""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import statistics
from collections.abc import Sequence
from datetime import date
from pathlib import Path

GIB = 2**30
RECIPE = Path(__file__).parents[1] / "egs2" / "speechclip_plus"


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
