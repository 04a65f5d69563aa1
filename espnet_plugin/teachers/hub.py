"""Files of the Hugging Face hub: from its cache, or downloaded.

An unreachable hub is noticed before a library retries for a minute.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

CONNECT_SECONDS = 5.0
CONFIG_JSON = "config.json"  # of a model of transformers, in its folder or on the hub
Loaded = TypeVar("Loaded")


def from_cache_or_hub(
    load: Callable[..., Loaded],
    *,
    missing: str,
    remedy: str,
    cache: str | Path | None = None,
    refresh: bool = False,
) -> Loaded:
    """Loads from the cache without asking the network for changes, or else downloads.

    Args:
        load: Function that takes ``local_files_only``, as those of Hugging Face's libraries do.
        missing: What the error says was not found; it continues with "in the cache …".
        remedy: What the error advises then.
        cache: Folder of the cache that the error names, by default the hub's.
        refresh: Whether to download it again.

    Raises:
        FileNotFoundError: If it is not cached and cannot be downloaded.
        ValueError: If the cached files are damaged.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    if not refresh:
        try:
            return load(local_files_only=True)
        except OSError:
            pass  # not in the cache
    try:
        check_hub_reachable()
        return load()
    except Exception as error:  # the errors of HTTP clients have no common base
        raise FileNotFoundError(
            f"{missing} in the cache {cache or HF_HUB_CACHE}, and it cannot be downloaded "
            f"({first_line(error)}). {remedy}"
        ) from error


def is_remote_name(value: str) -> bool:
    """Whether it can be the name of a download: ``name``, ``owner/name`` or a URL."""
    return "://" in value or (value.count("/") <= 1 and not value.startswith((".", "/", "~")))


def check_hub_reachable() -> None:
    """Raises an error if no download can succeed. Behind a proxy nothing is checked.

    Raises:
        OSError: If HF_HUB_OFFLINE is set, or the hub does not answer.
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
    """The first line of an error."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
