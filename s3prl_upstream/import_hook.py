"""Registers the upstream when, and only if, a program imports ``s3prl.hub``.

Installing the hook imports nothing: programs that do not use s3prl pay nothing.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

HUB = "s3prl.hub"


class RegisteringLoader(importlib.abc.Loader):
    """Loads ``s3prl.hub`` as its own loader does, then registers the upstream in it."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self.loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """As the module's own loader."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """As the module's own loader, and registers."""
        self.loader.exec_module(module)
        from s3prl_upstream.register import register

        register(module)


class HubFinder(importlib.abc.MetaPathFinder):
    """Finds nothing but ``s3prl.hub``, and that where the other finders find it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Part of the import system's protocol."""
        if fullname != HUB:
            return None
        sys.meta_path.remove(self)  # once is enough, and the search below must not come back here
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = RegisteringLoader(spec.loader)
        return spec


def install() -> None:
    """Installs the hook, or registers at once if ``s3prl.hub`` is imported already."""
    if HUB in sys.modules:
        from s3prl_upstream.register import register

        register(sys.modules[HUB])
    elif not any(isinstance(finder, HubFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, HubFinder())
