"""Checks how many lines of Python the project has without its tests.

    python -m tests.lines

What is added takes something out (CONTRIBUTING.md). Nobody squeezes code to meet the limit.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 35_036  # it only falls


def counted(repository: Path) -> int:
    """Lines of its Python files, but for tests and the programs that pages show."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "*.py", ":!tests/", ":!docs/examples/"],
        cwd=repository, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    files = [repository / name for name in names if name]
    return sum(file.read_bytes().count(b"\n") for file in files if file.is_file())


def main() -> None:
    """With more lines than the limit, says so and exits with 1."""
    if (lines := counted(ROOT)) > MAX_LINES:
        source = Path(__file__).read_text(encoding="utf-8")
        number = source[: source.index("\nMAX_LINES")].count("\n") + 2
        sys.exit(
            f"tests/lines.py:{number}: {lines} lines of Python without tests, {MAX_LINES} at most: "
            "take out what the new code replaces, or raise the limit and say why in the commit"
        )


if __name__ == "__main__":
    main()
