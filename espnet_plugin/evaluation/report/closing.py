"""The last lines of a run: its recall and the page to open."""

from __future__ import annotations

import os
from pathlib import Path

from espnet_plugin.evaluation.measures import BRANCHES
from espnet_plugin.utils.small_files import read_json


def shown_path(path: Path) -> str:
    """A path relative to ``$SPEECHCLIP_CALLED_FROM``, or to the current folder."""
    return os.path.relpath(path, os.environ.get("SPEECHCLIP_CALLED_FROM", "."))


def closing_lines(inference_dir: Path, packed_model: Path | None = None) -> list[str]:
    """What a run prints at its end.

    Args:
        inference_dir: Folder of ``scores.json`` and the pages.
        packed_model: The packed model, if there is one.
    """
    scores = read_json(inference_dir / "scores.json")
    lines = []
    for branch in BRANCHES:
        recall = scores.get(branch, {}).get("speech_to_image")
        if recall:
            first, tenth = (f"{100 * recall[key]:.1f} %" for key in ("recall@1", "recall@10"))
            found = f"R@1 {first}, R@10 {tenth} (speech → image)"
            lines.append(f"{scores['test_set']}, {branch}: {found}")
    report = inference_dir / "report.html"
    page = report if report.exists() else inference_dir / "RESULTS.md"
    lines.append(f"Open:  {shown_path(page)}")
    if packed_model is not None and packed_model.exists():
        lines.append(f"Use:   speechclip keywords RECORDING --model {shown_path(packed_model)}")
    return lines
