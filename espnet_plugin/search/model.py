"""The model of an index."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.catalog import State


@dataclass(frozen=True)
class IndexedModel:
    """A model that makes or searches an index.

    Attributes:
        name: Name to load it by; a path is absolute.
        fingerprint: Fingerprint of all that decides its embeddings.
    """

    name: str
    fingerprint: str


def identify_model(name: str) -> IndexedModel:
    """Identifies a model by its content; reads its files only if they are new or have changed.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If it holds no model.
    """
    from espnet_plugin.pretrained.fingerprint import model_fingerprint

    path = os.path.expanduser(name)
    known = os.path.abspath(path) if os.path.exists(path) else name
    return IndexedModel(known, model_fingerprint(name))


def check_model(directory: Path, made_by: State, model: IndexedModel) -> None:
    """Raises DataError if another model made an index."""
    if made_by.model and made_by.fingerprint != model.fingerprint:
        raise DataError(
            f"{directory} was made by {made_by.model} (fingerprint "
            f"{made_by.fingerprint[:12]}), not by {model.name} as it is now "
            f"({model.fingerprint[:12]}); scores would mean nothing. Use that model, make "
            "another index, or make this one again: speechclip index --force"
        )
