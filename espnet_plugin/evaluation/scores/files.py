"""Scores as nested dictionaries and JSON files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from espnet_plugin.utils.atomic import write_text


def write_json(path: Path, content: Mapping) -> None:
    """Writes JSON atomically; NaN, which means not applicable, becomes null."""
    write_text(path, json.dumps(_without_nan(content), indent=2, allow_nan=False) + "\n")


def _without_nan(value):
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
