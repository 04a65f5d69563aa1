"""Checks the subjects of commits: at most 72 characters, one change each.

    python -m tests.subjects

Older commits than the rule are passed over, and so is a copy without its history.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SINCE = "2026-11-30T18:30:00+00:00"  # when the rule was made
LONGEST = 72


def complaints(repository: Path, *, since: str = SINCE) -> list[str]:
    """What is wrong with the subjects of a repository's commits, the newest first."""
    command = ["git", "log", "--no-merges", f"--since={since}", "--format=%h %s"]
    log = subprocess.run(command, cwd=repository, text=True, encoding="utf-8", capture_output=True)
    found = []
    for line in log.stdout.splitlines() if log.returncode == 0 else ():
        commit, _, subject = line.partition(" ")
        if len(subject) > LONGEST:
            advice = f"takes {len(subject)} characters, {LONGEST} at most: the body says the rest"
            found.append(f"{commit}: the subject {advice}: {subject}")
        if ";" in subject:
            found.append(f"{commit}: a semicolon in the subject joins two changes: {subject}")
    return found


def main() -> None:
    """Prints the complaints about this repository; with any, exits with 1."""
    found = complaints(Path(__file__).parents[1])
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
