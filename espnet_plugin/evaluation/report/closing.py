"""The last lines of a run: what came out, the page to open, the next command."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

# what belongs to one run only; the next call has its own
CHOICE_OF_STAGES = ("stage", "stop_stage", "skip_stages", "skip_data_prep", "skip_train")
NAMED_EXPERIMENT = ("speechclip_tag", "speechclip_exp")
ARCHITECTURES = ("hybrid_plus", "hybrid", "cascaded_plus", "cascaded", "parallel")


def closing_lines(inference_dir: Path, config: Path) -> list[str]:
    """What a run prints at its end.

    ``$SPEECHCLIP_CALL`` is how run.sh was called. Paths are as seen from
    ``$SPEECHCLIP_CALLED_FROM``, where that folder is not the recipe's.

    Args:
        inference_dir: Holds ``scores.json`` and the pages.
        config: Training configuration that was used.
    """
    here = os.environ.get("SPEECHCLIP_CALLED_FROM", ".")
    scores = json.loads((inference_dir / "scores.json").read_text(encoding="utf-8"))
    report = inference_dir / "report.html"
    page = report if report.exists() else inference_dir / "RESULTS.md"
    lines = [*recall_lines(scores), f"Open:  {os.path.relpath(page, here)}"]
    call = next_call(os.environ.get("SPEECHCLIP_CALL", ""), config)
    if call:
        folder = os.path.relpath(".", here)
        cd = "" if folder == "." else f"cd {shlex.quote(folder)} && "
        lines.append(f"Next:  {cd}{call}")
    return lines


def recall_lines(scores: dict) -> list[str]:
    """A line for each branch."""
    lines = []
    for branch in ("parallel", "cascaded"):
        recall = scores.get(branch, {}).get("speech_to_image")
        if recall:
            first, tenth = (f"R@{k} {100 * recall[f'recall@{k}']:.1f} %" for k in (1, 10))
            lines.append(
                f"Speech to picture, {scores['test_set']}, {branch} branch: {first}, {tenth}"
            )
    return lines


def next_call(call: str, config: Path) -> str | None:
    """The call that trains another architecture on the same data.

    Args:
        call: How run.sh was called; empty if it was not.
        config: Training configuration that was used.

    Returns:
        None where the experiment was given a name, which the next one must not have too, or where
        there is no configuration of another architecture.
    """
    other = _other_architecture(config)
    if not call or other is None:
        return None
    script, *words = shlex.split(call)
    kept = []
    for option, value in zip(words[::2], words[1::2], strict=False):
        name = option.lstrip("-").replace("-", "_")
        if name in NAMED_EXPERIMENT:
            return None
        if name == "python" and Path(value).is_relative_to(Path.cwd().parents[1]):
            value = os.path.relpath(value)  # the project's own, as one would type it
        if name not in (*CHOICE_OF_STAGES, "speechclip_config"):
            kept += [option, value]
    return shlex.join([script, *kept, "--stage", "7", "--speechclip_config", str(other)])


def _other_architecture(config: Path) -> Path | None:
    for name in ARCHITECTURES:
        if config.stem.endswith(f"_{name}"):
            other = "hybrid_plus" if name == "parallel" else "parallel"
            path = config.with_name(f"{config.stem.removesuffix(name)}{other}.yaml")
            return path if path.exists() else None
    return None
