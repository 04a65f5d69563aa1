"""Read JSON and YAML files that are small enough to be read at once, and look values up in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml


def read_json(path: str | Path, *, name: str | None = None) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is none; the message calls it ``name``, by default its path.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{name or path}: not a JSON file: {error}") from error


def read_yaml(path: str | Path, *, name: str | None = None) -> Any:
    """The content of a YAML file: plain values, no other objects.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is none; the message calls it ``name``, by default its path.
    """
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (AttributeError, RecursionError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{name or path}: not a YAML file: {error}") from error


def look_up(content: Any, keys: Iterable[str]) -> Any:
    """The value at a path of keys in nested mappings, or None."""
    for key in keys:
        if not isinstance(content, Mapping) or key not in content:
            return None
        content = content[key]
    return content
