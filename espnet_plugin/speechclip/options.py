"""How a configuration speaks to a constructor: its options are the keyword-only arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

Constructor = TypeVar("Constructor", bound=Callable[..., Any])
Registered = TypeVar("Registered")

COMPATIBILITY = "compatibility"  # given by the factory to those who read it, not by options


def options_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Names and defaults of what a configuration can set."""
    return {
        parameter.name: parameter.default
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name != COMPATIBILITY
    }


def hands_on_to(*others: Callable[..., Any]) -> Callable[[Constructor], Constructor]:
    """Puts the options of other constructors into the signature of one that hands its
    ``**options`` on to them, so that an option and its default stand where they are read."""

    def decorate(function: Constructor) -> Constructor:
        signature = inspect.signature(function)
        parameters = {
            name: parameter
            for name, parameter in signature.parameters.items()
            if parameter.kind is not parameter.VAR_KEYWORD
        }
        for other in others:
            for name, parameter in inspect.signature(other).parameters.items():
                if parameter.kind is parameter.KEYWORD_ONLY:
                    parameters.setdefault(name, parameter)
        whole = signature.replace(parameters=list(parameters.values()))
        function.__signature__ = whole  # type: ignore[attr-defined]
        return function

    return decorate


def check_options(key: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuses options that nobody would read.

    Args:
        key: Where in the configuration they stand.
        given: Their names.
        known: Names that have a meaning there.

    Raises:
        ValueError: If there is an unknown one.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(
            f"{key} has unknown option(s) {', '.join(unknown)}; known: {', '.join(known)}"
        )


def choose(key: str, registry: Mapping[str, Registered], name: str) -> Registered:
    """What is registered under a name.

    Raises:
        ValueError: If there is no such name; the message lists those there are.
    """
    if name not in registry:
        raise ValueError(f"{key}: {name!r} is not known; choose from {', '.join(sorted(registry))}")
    return registry[name]
