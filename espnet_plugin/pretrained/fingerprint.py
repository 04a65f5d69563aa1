"""Identify a model by its content: computed once, and again when one of its files changes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from espnet_plugin.model.model import SpeechCLIPModel
from espnet_plugin.pretrained.names import resolve_model
from espnet_plugin.pretrained.released_cache import cache_directory
from espnet_plugin.pretrained.storage_format import (
    CONFIG_FILE,
    LOG_SCALE,
    TOKEN_TABLE,
    config_of_checkpoint,
)
from espnet_plugin.pretrained.stored_model import StoredModel, opened
from espnet_plugin.teachers.trained_parts import trains_encoder
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.hashing import hash_file

NOT_TRAINED = (*SpeechCLIPModel.frozen_prefixes, TOKEN_TABLE, LOG_SCALE)
_FOLDER = "fingerprints"  # in the cache of released models


def model_fingerprint(source: str | Path) -> str:
    """SHA-256 of a trained model, the same for all forms in which it is stored.

    It covers the trained weights, in the speech encoder too, and the frozen CLIP, by the content of
    its files or by its public name. The model is not built. The result is cached while size and
    times of the model's files stay the same.

    Args:
        source: As for :func:`load_speechclip`, which also says what is raised.
    """
    path = resolve_model(source)
    kept = _kept(path)
    if kept is not None:
        return kept
    with opened(path, trusted=True) as stored:  # nothing that it names is built
        # before the files are read, so a change meanwhile shows the next time
        stamps = {str(file): _stamp(file) for file in _files(path, stored)}
        fingerprint = fingerprint_of(stored.config, stored.read_weights())
    with contextlib.suppress(OSError):  # a cache that cannot be written
        record = {"fingerprint": fingerprint, "files": stamps}
        write_text(_record_file(path), json.dumps(record, indent=1) + "\n")
    return fingerprint


def fingerprint_of(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    """The fingerprint of a model by its configuration and weights."""
    digest = hashlib.sha256()
    trains = trains_encoder(config.get("speech_encoder_conf"))  # then a file holds what is trained
    left_out = tuple(name for name in NOT_TRAINED if not (trains and name == "speech_encoder."))
    for name, weight in sorted(weights.items()):
        if not name.startswith(left_out):
            digest.update(f"{name} {tuple(weight.shape)}\n".encode())
            digest.update(weight.float().contiguous().numpy().tobytes())
    for option, value in _clip_options(config):
        if Path(value).is_file():
            hash_file(value, digest)
        else:
            digest.update(f"{option} {value}\n".encode())
    return digest.hexdigest()


def _clip_options(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for option in ("model", "pretrained"):
        yield option, str((config.get("clip_conf") or {}).get(option))


def _files(path: Path, stored: StoredModel) -> Iterator[Path]:
    """The files that the fingerprint depends on."""
    if path.is_file() and stored.root is not None:
        yield path  # a zip file, which holds everything
        return
    yield path / CONFIG_FILE if path.is_dir() else config_of_checkpoint(path)
    yield stored.weights_file
    for _, value in _clip_options(stored.config):
        if Path(value).is_file():
            yield Path(os.path.abspath(value))


def _stamp(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _record_file(path: Path) -> Path:
    name = hashlib.sha256(os.path.abspath(path).encode(errors="surrogateescape")).hexdigest()
    return cache_directory() / _FOLDER / f"{name[:32]}.json"


def _kept(path: Path) -> str | None:
    """The cached fingerprint; None if the model may have changed."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        record = json.loads(_record_file(path).read_text(encoding="utf-8"))
        unchanged = all(_stamp(Path(file)) == stamp for file, stamp in record["files"].items())
        if unchanged and record["files"]:
            return str(record["fingerprint"])
    return None
