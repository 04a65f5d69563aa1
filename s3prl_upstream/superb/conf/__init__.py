"""Our configurations of SUPERB's tasks, and the paths in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from espnet_plugin.utils.small_files import read_yaml

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
    """Names, as ``-o`` takes them, of the values that only the user knows."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from missing_paths(item, f"{name}.{key}")
    elif value == UNKNOWN:
        yield name


def check_data(downstream: str | None, config: Mapping[str, Any]) -> None:
    """Refuses a configuration whose data are not named or not there.

    Args:
        downstream: Name of the task; our configurations of it show which options name data.
        config: Configuration of the experiment.

    Raises:
        FileNotFoundError: If an option names something that does not exist.
        ValueError: If an option is still ``???``.
    """
    unknown = list(missing_paths(config))
    if unknown:
        options = ",,".join(f"{key}=..." for key in unknown)
        raise ValueError(f'name the data: -o "{options}"')
    ours = [read_yaml(path) for path in CONF.glob(f"{downstream}*.yaml")]
    for key in sorted({key for own in ours for key in missing_paths(own)}):
        found: Any = config
        for field in key.split(".")[1:]:
            found = found.get(field) if isinstance(found, Mapping) else None
        for path in found if isinstance(found, list) else [found]:
            if isinstance(path, str) and not Path(path).exists():
                raise FileNotFoundError(f'{key}: no file or folder {path}; give -o "{key}=..."')
