"""Runs the code of documentation pages, block by block, as a reader would.

    python -m tests.pages PAGE [DIRECTORY]

``sh`` blocks run in a shell that stops at the first error, each from DIRECTORY; ``python`` blocks
of a page share their names; a block that begins with ``# NAME.yaml`` or ``# NAME.py`` is written to
that file. What only shows something, such as a command that needs a data set, is a ``console`` or
``py`` block.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
COMMAND = 'speechclip() { "${PAGES_PYTHON:-python3}" -m espnet_plugin.bin.speechclip "$@"; }\n'
_BLOCK = re.compile(r"^```(python|sh|yaml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# ([\w.-]+\.(?:yaml|py))\n")


def blocks(page: Path) -> Iterator[tuple[str, int, str]]:
    """Language, line and text of each block that may run."""
    text = page.read_text(encoding="utf-8")
    for block in _BLOCK.finditer(text):
        yield block[1], text.count("\n", 0, block.start()) + 2, block[2]


def run_page(page: Path) -> dict[str, Any]:
    """Runs a page in the current directory.

    Returns:
        The names that its ``python`` blocks left.

    Raises:
        Exception: What a block raises; its traceback names the page and the line.
        CalledProcessError: When a command fails.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        run_block(page, block, names)
    return names


def run_block(page: Path, block: tuple[str, int, str], names: dict[str, Any]) -> None:
    """Runs a block of a page, as :func:`run_page` does."""
    language, line, text = block
    logging.info(f"{page}:{line}: {language}")
    if found := _FILE.match(text):
        Path(found[1]).write_text(text, encoding="utf-8")
    elif language == "python":
        exec(compile("\n" * (line - 1) + text, str(page), "exec"), names)
    elif language == "sh":
        script = ["bash", "-euo", "pipefail", "-c", COMMAND + text]
        subprocess.run(script, check=True, env=_environment())


def _environment() -> dict[str, str]:
    """This interpreter is ``python3``, and the package is found, wherever the shell goes."""
    first = {"PATH": Path(sys.executable).parent, "PYTHONPATH": PROJECT}
    return {**os.environ, **{key: f"{at}:{os.environ.get(key, '')}" for key, at in first.items()}}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    path = Path(sys.argv[1]).absolute()
    if len(sys.argv) > 2:
        os.chdir(sys.argv[2])
    run_page(path)
