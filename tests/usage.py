"""Processor time and memory of a command."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
