"""What a model's name stands for, here or on the Hugging Face hub.

Whether the hub can be reached is asked before a library tries for a minute.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from espnet_plugin.speechclip.released import nearest_names, released_model
from espnet_plugin.speechclip.storage_format import CONFIG_FILE, TRAINED_FILE, read_config

CONNECT_SECONDS = 5.0
PACKED = "model.zip"  # a repository on the hub holds an exported model, or this
EXPECTED = (
    f"an exported model (a directory with {CONFIG_FILE} and {TRAINED_FILE}), an ESPnet experiment "
    f"(a directory with {CONFIG_FILE} and checkpoints *.pth, or one of these checkpoints), a zip "
    "file that holds one of them, the name owner/model of a repository on the hub, or that of a "
    "released model (docs/models.md lists them)"
)
Loaded = TypeVar("Loaded")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def resolve_model(source: str | Path, *, refresh: bool = False) -> Path:
    """Where a model lies, downloaded if it is the name of a released one or of a repository on the
    hub.

    What is cached is taken as it is, without asking the network whether it has changed.

    Args:
        source: Path, name of a released model, or ``owner/model``; a path that exists wins.
        refresh: Download it again.

    Returns:
        A directory with an exported model, or a file. Of an experiment's directory this is a
        checkpoint: the averaged or else the best one by the first of its criteria that there is,
        or else the latest.

    Raises:
        FileNotFoundError: If there is no such file, and no such repository can be had.
        ValueError: If it is a directory that holds no model, or a released model's file is not
            what it was.
    """
    path = Path(source).expanduser()
    if path.exists():
        return _model_in(path) if path.is_dir() else path
    released = released_model(str(source))
    if released is not None:
        from espnet_plugin.speechclip.released_cache import fetch_released

        return fetch_released(released, refresh=refresh)
    if not _HUB_NAME.fullmatch(str(source)) or path.suffix in (".zip", ".pth", ".ckpt", ".pt"):
        others = ", ".join(sorted(other.name for other in path.parent.glob("*.pth")))
        nearest = ", ".join(nearest_names(str(source)))
        there = f"; there are {others}" if others and path.suffix == ".pth" else ""
        there += f"; the released models nearest to that name are {nearest}" if nearest else ""
        raise FileNotFoundError(f"{source}: no such file or directory{there}; expected {EXPECTED}")
    directory = _snapshot(str(source), refresh=refresh)
    published = _published_in(directory)
    if published is None:
        raise ValueError(
            f"{source}: the repository holds neither {PACKED} nor {CONFIG_FILE} with {TRAINED_FILE}"
        )
    return published


def _published_in(directory: Path) -> Path | None:
    """The model of a repository, which is no experiment: that may name files anywhere."""
    if (directory / PACKED).is_file():
        return directory / PACKED
    whole = all((directory / name).is_file() for name in (CONFIG_FILE, TRAINED_FILE))
    return directory if whole else None


def _model_in(directory: Path) -> Path:
    config_file = directory / CONFIG_FILE
    if config_file.is_file():
        if (directory / TRAINED_FILE).is_file():
            return directory
        names = []
        for phase, metric, *_ in read_config(config_file).get("best_model_criterion") or ():
            names += [f"{phase}.{metric}.ave.pth", f"{phase}.{metric}.best.pth"]
        for name in (*names, "latest.pth"):
            if (directory / name).is_file():
                return directory / name
    found = ", ".join(sorted(path.name for path in directory.iterdir())[:6]) or "nothing"
    raise ValueError(f"{directory}: holds no model; expected {EXPECTED}; found {found}")


def _snapshot(name: str, *, refresh: bool) -> Path:
    """Local folder of a repository."""
    from huggingface_hub import snapshot_download

    def load(**options: Any) -> Path:
        directory = Path(snapshot_download(name, force_download=refresh, **options))
        # a download that was interrupted, or of other files only, is in the cache too
        if options and _published_in(directory) is None:
            raise FileNotFoundError(directory)
        return directory

    return from_cache_or_hub(
        load,
        refresh=refresh,
        missing=f"{name}: no such file or directory here, and no repository of that name",
        remedy=f"Expected {EXPECTED}",
    )


def from_cache_or_hub(
    load: Callable[..., Loaded],
    *,
    missing: str,
    remedy: str,
    cache: str | Path | None = None,
    refresh: bool = False,
) -> Loaded:
    """What is cached is taken as it is, without asking the network whether it has changed; else it
    is downloaded.

    Args:
        load: Takes ``local_files_only``, as the functions of Hugging Face's libraries do.
        missing: What is missing otherwise, for the error.
        remedy: What to do then.
        cache: Where it may lie, for the error; None: the hub's cache.
        refresh: Download it again.

    Raises:
        FileNotFoundError: If it is neither cached nor can be downloaded.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    if not refresh:
        try:
            return load(local_files_only=True)
        except (OSError, ValueError):
            pass  # not in the cache
    try:
        check_hub_reachable()
        return load()
    except Exception as error:  # an HTTP client's have no common base
        raise FileNotFoundError(
            f"{missing} is in the cache {cache or HF_HUB_CACHE} or can be downloaded "
            f"({first_line(error)}). {remedy}"
        ) from error


def is_remote_name(value: str) -> bool:
    """Whether something may be downloaded: ``name``, ``owner/name`` or a URL, but no other path."""
    return "://" in value or (value.count("/") <= 1 and not value.startswith((".", "/", "~")))


def check_hub_reachable() -> None:
    """Return if a download may be tried.

    Behind a proxy only the attempt itself can tell, so nothing is checked there.

    Raises:
        OSError: if HF_HUB_OFFLINE is set, or the hub does not answer.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set")
    proxies = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    if any(os.environ.get(name) for name in proxies):
        return
    endpoint = urlsplit(constants.ENDPOINT)
    port = endpoint.port or (80 if endpoint.scheme == "http" else 443)
    try:
        socket.create_connection((endpoint.hostname or "", port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise OSError(f"no connection to {constants.ENDPOINT}: {error}") from error


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
