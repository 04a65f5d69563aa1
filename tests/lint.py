"""Runs the checks of ``make lint`` side by side.

    python -m tests.lint             any complaint fails
    python -m tests.lint --landing   only what is broken fails; a line NOTE says what is untidy

A landing is what ``.ci/run`` decides about: what is broken must not get into main, and what is
untidy must not keep the rest out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHELL = ("*.sh", ".ci/run", "tools/hooks/*", "egs2/*/utils/run.pl", "egs2/*/utils/slurm.pl")


@dataclass(frozen=True)
class Check:
    """One command of ``make lint``; with ``stops_landing``, what it complains about is broken."""

    name: str
    command: tuple[str, ...]
    stops_landing: bool


@dataclass(frozen=True)
class Result:
    """What a check printed, and whether it complained."""

    check: Check
    output: str
    complained: bool


def all_checks() -> list[Check]:
    """The checks of this checkout, the slowest first."""
    programs = Path(sys.executable).parent
    ruff, mypy, vulture, shellcheck = (
        str(programs / name) for name in ("ruff", "mypy", "vulture", "shellcheck")
    )
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *SHELL],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    scripts = [name for name in listed if (ROOT / name).is_file()]
    sources = "SCRIPTDIR:SCRIPTDIR/..:SCRIPTDIR/scripts/stages"
    concise = ("--output-format", "concise", ".")
    checks = [
        Check("mypy", (mypy,), True),
        Check("shellcheck", (shellcheck, "-x", "-P", sources, "-e", "SC1091", *scripts), True),
        Check("prose", (sys.executable, "-m", "tests.prose"), False),
        Check("vulture", (vulture,), False),
        Check("ruff", (ruff, "check", "-q", *concise), True),
        Check("format", (ruff, "format", "-q", "--check", *concise), False),
        Check("subjects", (sys.executable, "-m", "tests.subjects"), False),
        Check("lines", (sys.executable, "-m", "tests.lines"), False),
    ]
    return [check for check in checks if check.name != "shellcheck" or scripts]


def run(check: Check) -> Result:
    """Runs a check in the checkout."""
    done = subprocess.run(
        check.command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return Result(check, done.stdout.strip(), done.returncode != 0)


def judged(results: Iterable[Result], *, landing: bool) -> tuple[list[str], list[str]]:
    """What fails and what is only noted, as lines.

    Args:
        results: What the checks found.
        landing: Whether complaints about what is untidy are only noted.
    """
    failures: list[str] = []
    notes: list[str] = []
    for result in results:
        if result.complained:
            kind = failures if result.check.stops_landing or not landing else notes
            lines = result.output.splitlines() or ["failed, and said nothing"]
            kind += [f"{result.check.name}: {line}" for line in lines]
    return failures, notes


def main(arguments: list[str] | None = None) -> int:
    """Prints what the checks say; returns 1 if something fails."""
    parser = argparse.ArgumentParser(description="Runs the checks of make lint side by side.")
    parser.add_argument(
        "--landing",
        action="store_true",
        help="only note what is untidy, and fail for what is broken",
    )
    options = parser.parse_args(arguments)
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(run, all_checks()))
    failures, notes = judged(results, landing=options.landing)
    for line in notes:
        print(f"NOTE: {line}")
    for line in failures:
        print(line)
    if not failures:
        print(f"lint: {len(notes)} notes" if notes else "lint: no complaints")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
