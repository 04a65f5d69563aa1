"""What the benchmarks share: time and memory of a process, the sizes of HuBERT, the results."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIB = 2**20
GIB = 2**30
HUBERT: dict[str, dict[str, Any]] = {
    "base": {},
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
    },
    "tiny": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
}
# A process begins with the peak of the one that started it, so a small one stands in between.
_IN_BETWEEN = """
import json, resource, subprocess, sys, time
started = time.monotonic()
code = subprocess.call(sys.argv[2:])
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as stream:
    json.dump({"seconds": time.monotonic() - started,
               "cpu_seconds": usage.ru_utime + usage.ru_stime,
               "peak": usage.ru_maxrss * 1024}, stream)
sys.exit(code)
"""


@dataclass(frozen=True)
class Usage:
    """What a command took; ``peak`` is the resident memory of its largest process in bytes."""

    seconds: float
    cpu_seconds: float
    peak: int


def usage_of(command: Sequence[object], **options: Any) -> Usage:
    """Runs a command in a process of its own.

    Args:
        command: Program and arguments.
        options: Of ``subprocess.run``, e.g. the folder.

    Raises:
        subprocess.CalledProcessError: The command failed.
    """
    with tempfile.NamedTemporaryFile("r", suffix=".json") as file:
        wrapped = [sys.executable, "-c", _IN_BETWEEN, file.name, *map(str, command)]
        subprocess.run(wrapped, check=True, **options)
        return Usage(**json.load(file))


def peak_memory() -> int:
    """The most resident memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux


def get_parser(description: str) -> argparse.ArgumentParser:
    """A command line with what all benchmarks have; the docstring's first line is shown."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--output", type=Path, help="JSON file")
    return parser


def show(table: str, result: Any, output: Path | None) -> None:
    """Prints a table and JSON, and writes the JSON to ``--output``."""
    text = json.dumps(result, indent=2)
    print(table, text, sep="\n")
    if output:
        output.write_text(text + "\n", encoding="utf-8")
