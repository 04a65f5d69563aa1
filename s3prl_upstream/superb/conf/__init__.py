"""Our configurations of SUPERB's tasks, and what stands in them for paths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONF = Path(__file__).resolve().parent
EXPERT = "config.downstream_expert"  # a task's own section, as -o names it
UNKNOWN = "???"
OWN_FILES = "conf:"  # prefix of files in this folder: conf:vocab/characters.txt


def resolve_own_files(value: Any) -> Any:
    """A configuration with ``conf:...`` replaced by paths in this package."""
    if isinstance(value, dict):
        return {key: resolve_own_files(item) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve_own_files(item) for item in value]
    if isinstance(value, str) and value.startswith(OWN_FILES):
        return str(CONF / value[len(OWN_FILES) :])
    return value


def missing_paths(value: Any, name: str = "config") -> Iterator[str]:
    """Names, as ``-o`` takes them, of the values that only the user can know."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from missing_paths(item, f"{name}.{key}")
    elif value == UNKNOWN:
        yield name
