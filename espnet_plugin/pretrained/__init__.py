"""Finds, checks, loads, packs and publishes models; ``convert/`` reads the original's checkpoints.

The names below are imported when they are used, so importing the package is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from espnet_plugin.pretrained.names import resolve_model
    from espnet_plugin.pretrained.storage import load_speechclip, save_speechclip

__all__ = ["load_speechclip", "resolve_model", "save_speechclip"]

_MODULES = {"load_speechclip": "storage", "resolve_model": "names", "save_speechclip": "storage"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
