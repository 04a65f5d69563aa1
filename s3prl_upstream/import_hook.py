"""Something to be done with a module when, and only if, the program imports it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

Action = Callable[[ModuleType], None]


def after_import(name: str, action: Action) -> None:
    """Calls ``action`` with the module ``name`` right after its import; now, if it is imported."""
    if name in sys.modules:
        action(sys.modules[name])
    else:
        sys.meta_path.insert(0, _Finder(name, action))


def in_place_of(name: str, fill: Action) -> None:
    """Where no module ``name`` is installed, an import of it gives an empty one for ``fill``."""
    sys.meta_path.append(_StandIn(name, fill))


class _Finder(MetaPathFinder):
    """Finds one module where the other finders find it, and adds the action to its loading."""

    def __init__(self, name: str, action: Action) -> None:
        self.name = name
        self.action = action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)  # once is enough, and the search below must not come back here
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_act(module: ModuleType) -> None:
                load(module)
                self.action(module)

            spec.loader.exec_module = load_and_act  # type: ignore[method-assign]
        return spec


class _StandIn(MetaPathFinder, Loader):
    """Is asked last, when no other finder has found the module."""

    def __init__(self, name: str, fill: Action) -> None:
        self.name = name
        self.fill = fill

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        self.fill(module)
