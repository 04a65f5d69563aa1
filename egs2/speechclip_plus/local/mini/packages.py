"""Optional packages of the mini corpus."""

from __future__ import annotations

import importlib
from types import ModuleType


def load_package(name: str) -> ModuleType:
    """Import a package that only mini needs.

    Raises:
        ImportError: If it is missing, with the extra that brings it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"The mini corpus needs the package {name.replace('_', '-')}: "
            "pip install 'speechclip-plus[mini]'"
        ) from error
