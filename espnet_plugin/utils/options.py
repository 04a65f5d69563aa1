"""A configuration names a class; its options are the class's keyword-only arguments."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

Component = TypeVar("Component")

COMPATIBILITY = "compatibility"  # given by the factory, not an option


def options_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Names and defaults of what a configuration can set, with None if there is no default."""
    return {
        parameter.name: None if parameter.default is parameter.empty else parameter.default
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name != COMPATIBILITY
    }


def check_options(key: str, given: Collection[str], known: Collection[str]) -> None:
    """Refuses unknown options.

    Args:
        key: Place of the options in the configuration.
        given: Names of the options.
        known: Names that have a meaning there.

    Raises:
        ValueError: If there is an unknown one; the message names a similar known one.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        named = ", ".join(name + did_you_mean(name, known) for name in unknown)
        raise ValueError(f"{key} has no option {named}; known: {', '.join(known)}")


def is_own_class(name: object) -> bool:
    """Whether a configuration's value names code outside this package, as ``module:Class``."""
    return isinstance(name, str) and ":" in name


def find_class(key: str, name: str, known: Mapping[str, Component]) -> Component:
    """Finds the class of a configuration: one of the package by its word, or ``module:Class``.

    Args:
        key: Place of the name in the configuration.
        name: The word, or the place to import the class from.
        known: The package's classes, by their words.

    Raises:
        ValueError: If there is no such class; the message lists the words.
    """
    if isinstance(name, str) and name in known:
        return known[name]
    if not is_own_class(name):
        raise ValueError(
            f"{key}: {name!r} is not known{did_you_mean(str(name), known)}; choose from "
            f"{', '.join(known)}, or name a class of your own as module:Class"
        )
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{key}: {name} cannot be imported: {error}. Install the package that has the class, "
            "or put its folder on PYTHONPATH"
        ) from error


def did_you_mean(name: str, known: Collection[str]) -> str:
    """The known name that is like a wrong one, in brackets; empty if there is none."""
    return "".join(f" (did you mean {near}?)" for near in nearest(name, known))


def nearest(name: str, known: Collection[str], *, most: int = 1) -> list[str]:
    """The known names that are like a wrong one, the nearest first."""
    return difflib.get_close_matches(name, known, most)
