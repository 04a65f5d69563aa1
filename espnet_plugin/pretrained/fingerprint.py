"""Identify a model by the files that decide its outputs; big ones are read again after a change."""

from __future__ import annotations

import os
from pathlib import Path

from espnet_plugin.data.record import digest_of
from espnet_plugin.pretrained.names import resolve_model
from espnet_plugin.pretrained.stored_model import (
    CONFIG_FILE,
    StoredModel,
    config_of_checkpoint,
    file_options,
    read_stored,
    teacher_files,
)
from espnet_plugin.utils.constants import CHOICES_FILE
from espnet_plugin.utils.hashing import content_hash


def model_fingerprint(source: str | Path) -> str:
    """Hash of the files that decide a model's outputs, wherever its folder lies.

    These are its configuration, its weights, what was selected on dev, and the files of the frozen
    models and the vocabulary, if these are files. Its card and its results do not count.

    Args:
        source: A model in any form that :func:`load_speechclip` takes, which lists the errors, too.
    """
    return fingerprint_and_score(source)[0]


def fingerprint_and_score(source: str | Path) -> tuple[str, float]:
    """:func:`model_fingerprint`, and the lowest score of the keywords that the model reports."""
    stored, files = _files(source)
    return content_hash([digest_of(file) for file in files]), float(stored.choices.min_score)


def model_files(source: str | Path, config: str | Path | None = None) -> dict[str, str]:
    """The files that decide a model's outputs, as inputs of a record; public parts have no file.

    Args:
        source: A model in any form that :func:`load_speechclip` takes, which lists the errors, too.
        config: ``config.yaml`` of a checkpoint, by default the one beside it.
    """
    paths = dict.fromkeys(map(os.path.relpath, _files(source, config)[1]))
    return {f"model file {number}": file for number, file in enumerate(paths, 1)}


def _files(source: str | Path, config: str | Path | None = None) -> tuple[StoredModel, list[Path]]:
    path = resolve_model(source)
    stored = read_stored(path, config)
    config = config or (path / CONFIG_FILE if path.is_dir() else config_of_checkpoint(path))
    weights = stored.weights_file
    found = [Path(config), weights, weights.with_name(CHOICES_FILE)]
    for section, _, value in file_options(stored.config):
        found += teacher_files(section, value)
    return stored, [file for file in found if file.is_file()]
