"""Files of the Hugging Face hub: out of its cache, or else downloaded.

Whether the hub can be reached is asked before a library tries for a minute.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

CONNECT_SECONDS = 5.0
Loaded = TypeVar("Loaded")


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
    """Returns if a download may be tried.

    Behind a proxy only the attempt itself can tell, so nothing is checked there.

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
    """What an error says, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
