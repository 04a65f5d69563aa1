"""Asking whether the Hugging Face hub can be reached, before a library tries for a minute."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

CONNECT_SECONDS = 5.0


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


def check_model_available(name: str, option: str) -> None:
    """Return if the hub's model ``name`` has its configuration in the cache, or can be fetched.

    Args:
        name: hub name.
        option: what to name in the error.

    Raises:
        FileNotFoundError: if neither is so.
    """
    from huggingface_hub import try_to_load_from_cache

    if os.path.isdir(name) or isinstance(try_to_load_from_cache(name, "config.json"), str):
        return
    try:
        check_hub_reachable()
    except OSError as error:
        raise FileNotFoundError(
            f"{option}: {name} is not in the hub's cache and cannot be downloaded ({error}). "
            f"Run 'hf download {name}' where there is a network and copy the cache"
        ) from error


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
