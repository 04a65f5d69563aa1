"""The model of an index."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from espnet_plugin.utils.errors import DataError


@dataclass(frozen=True)
class IndexedModel:
    """A model that makes or searches an index.

    Attributes:
        name: Name to load it by; a path is absolute.
        fingerprint: Fingerprint of all that decides its embeddings.
        min_score: Lowest score of the words that it keeps, or None if an index does not say.
    """

    name: str
    fingerprint: str
    min_score: float | None = None


def identify_model(name: str) -> IndexedModel:
    """Identifies a model by its content; reads its files only if they are new or have changed.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If it holds no model.
    """
    from espnet_plugin.pretrained.fingerprint import fingerprint_and_score

    path = os.path.expanduser(name)
    known = os.path.abspath(path) if os.path.exists(path) else name
    return IndexedModel(known, *fingerprint_and_score(name))


def check_model(directory: Path, made_by: IndexedModel, model: IndexedModel) -> None:
    """Raises DataError if another model made an index."""
    if made_by.fingerprint != model.fingerprint:
        raise DataError(
            f"{directory} was made by {made_by.name} (fingerprint "
            f"{made_by.fingerprint[:12]}), not by {model.name} as it is now "
            f"({model.fingerprint[:12]}); scores would mean nothing. Use that model, make "
            "another index, or make this one again: speechclip index --force"
        )


def check_words(directory: Path, made_by: IndexedModel, model: IndexedModel) -> None:
    """Raises DataError if the words of an index were chosen by another ``min_score``."""
    if made_by.min_score != model.min_score:
        raise DataError(
            f"{directory} has words from a score of {made_by.min_score} on, and {model.name} now "
            f"keeps them from {model.min_score} on, so a glossary would count both alike. Make the "
            "index again with speechclip index --force, or give it the model with the old min_score"
        )
