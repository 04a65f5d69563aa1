"""Write the tested set with the hashes of its files: constraints/py311.lock.

    python -m tools.lock > constraints/py311.lock

Asks pip to resolve everything anew, as for an empty environment, and keeps what it would install on
this platform. Nothing is installed. Run with the Python of the tested set (3.11).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONSTRAINTS = "constraints/py311.txt"
HEADER = """\
# The tested set for Python 3.11 on Linux x86-64, each file with its hash (made by tools/lock.py):
#   pip install --require-hashes --no-deps -r constraints/py311.lock
# and then the project itself: pip install --no-deps --no-build-isolation .
"""


def locked(report: dict) -> list[str]:
    """A line for each package of pip's report, https://pip.pypa.io/en/stable/reference/installation-report/.

    Raises:
        ValueError: A package does not come from an index with a SHA-256.
    """
    lines = []
    for item in report["install"]:
        name, version = item["metadata"]["name"], item["metadata"]["version"]
        if "dir_info" in item["download_info"]:
            continue  # the project itself
        url = item["download_info"]["url"]
        sha256 = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if not sha256 or not url.startswith("https://"):
            raise ValueError(f"{name} {version}: no file with a hash, but {url}")
        lines.append(f"{name}=={version} --hash=sha256:{sha256}")
    return sorted(lines, key=str.lower)


def main() -> None:
    """Resolves, and prints the lock."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    command += ["--report", "-", "-c", CONSTRAINTS, ".[all]"]
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit("lock: pip could not resolve the packages; its message stands above")
    sys.stdout.write(HEADER + "\n".join(locked(json.loads(done.stdout))) + "\n")


if __name__ == "__main__":
    main()
