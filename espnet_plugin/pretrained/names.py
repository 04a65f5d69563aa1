"""Find a model by its path or name, on this disk or on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from espnet_plugin.pretrained.released import nearest_names, released_model
from espnet_plugin.pretrained.stored_model import (
    CONFIG_FILE,
    EXPECTED,
    TRAINED_FILE,
    read_config,
)
from espnet_plugin.teachers.hub import from_cache_or_hub

PACKED = "model.zip"  # a repository on the hub holds an exported model, or this
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def resolve_model(source: str | Path, *, refresh: bool = False) -> Path:
    """Finds the path of a model; a released one, or one on the hub, is downloaded.

    A cached model is used without asking the network whether it has changed.

    Args:
        source: Path, name of a released model, or ``owner/model``; a path that exists wins.
        refresh: Whether to download it again.

    Returns:
        A directory with an exported model, or a file. For an experiment's directory it is a
        checkpoint: the average, or else the best, by its first criterion with a file. If no
        criterion has one, it is the latest checkpoint.

    Raises:
        FileNotFoundError: If there is no such file, and no such repository can be reached.
        ValueError: If a directory holds no model, or a released model's file has changed.
    """
    path = Path(source).expanduser()
    if path.exists():
        if path.name == TRAINED_FILE and path.is_file():
            path = path.parent
        return _model_in(path) if path.is_dir() else path
    released = released_model(str(source))
    if released is not None:
        from espnet_plugin.pretrained.released_cache import fetch_released

        return fetch_released(released, refresh=refresh)
    if not _HUB_NAME.fullmatch(str(source)) or path.suffix in (".zip", ".pth", ".ckpt", ".pt"):
        others = ", ".join(sorted(other.name for other in path.parent.glob("*.pth")))
        nearest = ", ".join(nearest_names(str(source)))
        there = f"; there are {others}" if others and path.suffix == ".pth" else ""
        there += f"; the released models with a similar name are {nearest}" if nearest else ""
        raise FileNotFoundError(f"{source}: no such file or directory{there}; expected {EXPECTED}")
    directory = _snapshot(str(source), refresh=refresh)
    published = _published_in(directory)
    if published is None:
        raise ValueError(
            f"{source}: the repository holds neither {PACKED} nor {CONFIG_FILE} with {TRAINED_FILE}"
        )
    return published


def _published_in(directory: Path) -> Path | None:
    """The model of a repository. Experiments do not count: they may name files anywhere."""
    if all((directory / name).is_file() for name in (CONFIG_FILE, TRAINED_FILE)):
        return directory
    packed = directory / PACKED
    return packed if packed.is_file() else None


def _model_in(directory: Path) -> Path:
    config_file = directory / CONFIG_FILE
    if config_file.is_file():
        if (directory / TRAINED_FILE).is_file():
            return directory
        names = []
        for phase, metric, *_ in read_config(config_file).get("best_model_criterion") or ():
            names += [f"{phase}.{metric}.ave.pth", f"{phase}.{metric}.best.pth"]
        for name in (*names, "latest.pth", "model.pth"):  # the last: in older packs
            if (directory / name).is_file():
                return directory / name
    found = ", ".join(sorted(path.name for path in directory.iterdir())[:6]) or "nothing"
    raise ValueError(f"{directory}: holds no model; expected {EXPECTED}; found {found}")


def _snapshot(name: str, *, refresh: bool) -> Path:
    """The local folder of a repository."""
    from huggingface_hub import snapshot_download

    def load(**options: Any) -> Path:
        directory = Path(snapshot_download(name, force_download=refresh, **options))
        # the cache may hold an interrupted download, or other files only
        if options and _published_in(directory) is None:
            raise FileNotFoundError(directory)
        return directory

    return from_cache_or_hub(
        load,
        refresh=refresh,
        missing=f"{name}: no such file or directory here, and no repository of that name",
        remedy=f"Expected {EXPECTED}",
    )
