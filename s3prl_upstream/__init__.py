"""SpeechCLIP+ as an upstream of s3prl and as the ``s3prl`` front end of any ESPnet recipe.

Importing this package imports neither torch nor s3prl.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s3prl_upstream.register import register

__all__ = ["SITE_DIRECTORY", "register"]

# On PYTHONPATH, it registers the upstream in every Python process that imports s3prl.hub.
SITE_DIRECTORY = str(Path(__file__).resolve().parent / "site")


def __getattr__(name: str) -> Any:
    if name == "register":
        import importlib

        return importlib.import_module("s3prl_upstream.register").register
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
