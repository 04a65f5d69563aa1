"""Runs the recipe's numbered stages, which prepare data and pack models."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCRIPT = "speechclip.sh"


def run_recipe_stages(
    recipe_dir: str | Path, first: int, last: int, *, options: Mapping[str, Any]
) -> None:
    """Runs some stages of the recipe; files that are up to date are kept.

    Args:
        recipe_dir: Folder with ``speechclip.sh``; relative paths start there.
        first: Number of the first stage.
        last: Number of the last one.
        options: Options of ``speechclip.sh`` without dashes. None omits one; a list's items are
            joined by spaces.

    Raises:
        FileNotFoundError: If there is no recipe.
        RuntimeError: If a stage fails; its own message precedes this one.
    """
    script = Path(recipe_dir) / SCRIPT
    if not script.is_file():
        raise FileNotFoundError(
            f"{script}: no such file; set recipe_dir of the training configuration to a folder "
            "like egs3/speechclip_plus"
        )
    command = [f"./{SCRIPT}", "--stage", str(first), "--stop_stage", str(last)]
    for name, value in {"python": sys.executable, **options}.items():
        if value is not None:
            command += [f"--{name}", _as_argument(value)]
    code = subprocess.run(command, cwd=recipe_dir, check=False).returncode
    if code:
        raise RuntimeError(f"stages {first} to {last} of {script} failed (exit code {code})")


def _as_argument(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)):
        return str(value)
    return " ".join(map(str, value))
