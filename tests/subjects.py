"""Checks the subjects of commits: at most 72 characters, one change each.

    python -m tests.subjects         the subjects of all commits
    python -m tests.subjects FILE    that of the message in a file, for git's hook commit-msg

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
    lines = [line.partition(" ") for line in log.stdout.splitlines()] if log.returncode == 0 else []
    return [f"{commit}: {wrong}" for commit, _, subject in lines for wrong in faults(subject)]


def faults(subject: str) -> list[str]:
    """What is wrong with one subject."""
    found = []
    if len(subject) > LONGEST:
        advice = f"takes {len(subject)} characters, {LONGEST} at most: the body says the rest"
        found.append(f"the subject {advice}: {subject}")
    if ";" in subject:
        found.append(f"a semicolon in the subject joins two changes: {subject}")
    return found


def main(arguments: list[str]) -> None:
    """Prints the complaints about this repository or a message; with any, exits with 1."""
    if arguments:
        lines = Path(arguments[0]).read_text(encoding="utf-8").splitlines()
        # git joins the lines of the first paragraph, and leaves out comments
        text = "\n".join(line for line in lines if not line.startswith("#")).strip()
        subject = " ".join(text.partition("\n\n")[0].split())
        found = [] if subject.startswith("Merge ") else faults(subject)
    else:
        found = complaints(Path(__file__).parents[1])
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main(sys.argv[1:])
