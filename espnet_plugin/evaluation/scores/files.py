"""Scores on disk, and the options that they were made with."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_plugin.utils.atomic import write_text

MADE_WITH = "made_with"


def write_scores(path: Path, scores: Mapping, options: Mapping[str, Any]) -> None:
    """Writes scores of one set.

    Args:
        path: ``<set's directory>/scoring/<name>.json``.
        scores: What was scored.
        options: What it was scored with. Paths are kept as seen from the set's directory, so that
            an experiment may be moved.
    """
    made_with = {
        name: {"path": Path(os.path.relpath(value, path.parent.parent)).as_posix()}
        if isinstance(value, Path)
        else value
        for name, value in options.items()
    }
    write_json(path, {**scores, MADE_WITH: made_with})


def read_scores(path: Path) -> tuple[dict | None, dict[str, Any]]:
    """What ``write_scores`` was given, or None and no options where there is nothing of that."""
    if not path.exists():
        return None, {}
    try:
        scores = dict(json.loads(path.read_text(encoding="utf-8")))
        options = dict(scores.pop(MADE_WITH))
    except (KeyError, TypeError, ValueError):
        logging.warning(f"{path} is damaged, or of an earlier version: scoring with the defaults")
        return None, {}
    home = path.parent.parent
    return scores, {
        name: home / value["path"] if isinstance(value, dict) else value
        for name, value in options.items()
    }


def write_json(path: Path, content: Mapping) -> None:
    """Writes JSON atomically; NaN (not applicable), which JSON does not know, becomes null."""
    write_text(path, json.dumps(_without_nan(content), indent=2, allow_nan=False) + "\n")


def _without_nan(value):
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
