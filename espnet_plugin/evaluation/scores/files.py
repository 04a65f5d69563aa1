"""Scores on disk, and what they were made from: once that changes they are not used again."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from espnet_plugin.utils.atomic import write_text

MADE_FROM = "made_from"
Inputs = Mapping[str, Path | None]


def write_scores(
    path: Path, scores: Mapping, inputs: Inputs, files_of: Callable[[Inputs], Iterable[Path]]
) -> None:
    """Writes scores of one set and a digest of every file that they depend on.

    Args:
        path: ``<set's directory>/scoring/<name>.json``.
        scores: What was scored.
        inputs: Name → file or directory outside of the set's directory that was given, or None.
        files_of: Inputs → all files that count, in the set's directory and of the inputs; those
            that do not exist are passed over.
    """
    places = {name: _place(given, path) for name, given in inputs.items() if given is not None}
    made_from = {"inputs": places, "files": _digests(files_of(inputs), path)}
    write_json(path, {**scores, MADE_FROM: made_from})


def read_scores(
    path: Path, inputs: Inputs, files_of: Callable[[Inputs], Iterable[Path]]
) -> tuple[dict | None, Inputs]:
    """Reads scores if nothing they depend on has changed, been added or removed.

    Only what lies outside of the set's directory may be gone, e.g. the corpus on another machine.

    Args:
        path: As for ``write_scores``.
        inputs: As for ``write_scores``; None stands for the one with which the scores were made.
        files_of: As for ``write_scores``.

    Returns:
        The scores, or None when they have to be made again, and the inputs to make them from.
    """
    scores = _read_json(path)
    made_from = None if scores is None else scores.pop(MADE_FROM, None)
    if made_from is None:
        return None, inputs
    home = path.parent.parent
    made_with = {name: home / place for name, place in made_from["inputs"].items()}
    chosen = {name: given or made_with.get(name) for name, given in inputs.items()}
    expected = {
        place: digest
        for place, digest in made_from["files"].items()
        if (home / place).exists() or not place.startswith("..")
    }
    if _digests(files_of(chosen), path) == expected:
        return scores, chosen
    logging.info(f"{path}: what it was made from has changed: scoring again")
    there = {name: place for name, place in made_with.items() if place.exists()}
    return None, {name: given or there.get(name) for name, given in inputs.items()}


def write_json(path: Path, content: Mapping) -> None:
    """Writes JSON atomically; NaN (not applicable), which JSON does not know, becomes null."""
    write_text(path, json.dumps(_without_nan(content), indent=2, allow_nan=False) + "\n")


def _read_json(path: Path) -> dict | None:
    if not path.exists():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError):
        logging.warning(f"{path} is damaged: scoring again")
        return None


def _place(file: Path, path: Path) -> str:
    """A file as seen from the set's directory, so that an experiment may be moved."""
    return Path(os.path.relpath(file, path.parent.parent)).as_posix()


def _digests(files: Iterable[Path], path: Path) -> dict[str, str]:
    return {_place(file, path): _digest(file) for file in files if file.is_file()}


def _digest(file: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _without_nan(value):
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
