"""The model of SpeechCLIP(+) in plain PyTorch; :mod:`espnet_plugin.pretrained` loads trained ones.

The names below are imported when you use them: importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from espnet_plugin.model.factory import build_speechclip
    from espnet_plugin.model.model import SpeechCLIPModel

__all__ = ["SpeechCLIPModel", "build_speechclip"]

_MODULES = {"SpeechCLIPModel": "model", "build_speechclip": "factory"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
