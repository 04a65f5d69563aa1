"""The last lines of a run: its recall and the page to open."""

from __future__ import annotations

import json
import os
from pathlib import Path


def shown_path(path: Path) -> str:
    """A path relative to ``$SPEECHCLIP_CALLED_FROM``, or to the current folder."""
    return os.path.relpath(path, os.environ.get("SPEECHCLIP_CALLED_FROM", "."))


def closing_lines(inference_dir: Path) -> list[str]:
    """What a run prints at its end.

    Args:
        inference_dir: Folder of ``scores.json`` and the pages.
    """
    scores = json.loads((inference_dir / "scores.json").read_text(encoding="utf-8"))
    lines = []
    for branch in ("parallel", "cascaded"):
        recall = scores.get(branch, {}).get("speech_to_image")
        if recall:
            first, tenth = (f"R@{k} {100 * recall[f'recall@{k}']:.1f} %" for k in (1, 10))
            lines.append(
                f"Speech to image, {scores['test_set']}, {branch} branch: {first}, {tenth}"
            )
    report = inference_dir / "report.html"
    page = report if report.exists() else inference_dir / "RESULTS.md"
    return [*lines, f"Open:  {shown_path(page)}"]
