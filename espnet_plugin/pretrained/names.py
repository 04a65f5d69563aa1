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

PACKED = "model.zip"  # what older uploads left on the hub
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def resolve_model(source: str | Path, *, refresh: bool = False) -> Path:
    """Finds the path of a model; a released one, or one on the hub, is downloaded.

    A cached model is used without asking the network whether it has changed.

    Args:
        source: Path, name of a released model, or ``owner/model``; a path that exists wins.
        refresh: Whether to download it again.

    Returns:
        A directory with an exported model, or a checkpoint. For an experiment's directory that is
        the average, or else the best, by its first criterion with a file. If no criterion has one,
        it is the latest checkpoint.

    Raises:
        FileNotFoundError: If there is no such file, and no such repository can be reached.
        ValueError: If a file or directory holds no model, or a released model's file has changed.
    """
    path = Path(source).expanduser()
    if path.exists():
        if path.name == TRAINED_FILE and path.is_file():
            path = path.parent
        return _model_in(path) if path.is_dir() else _checkpoint(path)
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
    if not _is_published(directory):
        raise ValueError(
            f"{source}: the repository holds no {CONFIG_FILE} with {TRAINED_FILE}. If it holds "
            f"{PACKED}, as older ones do, name the folder that this makes: hf download {source} "
            f"{PACKED} --local-dir . && unzip {PACKED} -d model"
        )
    return directory


def _is_published(directory: Path) -> bool:
    """Whether a repository holds a model; no experiment, which may name files anywhere."""
    return all((directory / name).is_file() for name in (CONFIG_FILE, TRAINED_FILE))


def _checkpoint(path: Path) -> Path:
    if path.suffix == ".pth":
        return path
    if path.suffix == ".ckpt":
        raise ValueError(
            f"{path}: a checkpoint of the original implementation is converted first: "
            f"speechclip convert {path} OUT_DIR"
        )
    if path.suffix == ".zip":
        folder = path.with_suffix("")
        raise ValueError(
            f"{path}: a zip file, and a model is a folder. Make one, and name it instead: "
            f"unzip {path} -d {folder}"
        )
    raise ValueError(f"{path}: holds no model; expected {EXPECTED}")


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
        directory = Path(
            snapshot_download(name, force_download=refresh, ignore_patterns=[PACKED], **options)
        )
        # the cache may hold an interrupted download, or other files only
        if options and not _is_published(directory):
            raise FileNotFoundError(directory)
        return directory

    return from_cache_or_hub(
        load,
        refresh=refresh,
        missing=f"{name}: no such file or directory here, and no repository of that name",
        remedy=f"Expected {EXPECTED}",
    )
