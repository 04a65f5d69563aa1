"""Identify a model by all that decides its embeddings: computed once, and again after a change."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_plugin.pretrained.choices import CHOICES_FILE
from espnet_plugin.pretrained.names import resolve_model
from espnet_plugin.pretrained.stored_model import (
    CONFIG_FILE,
    FILE_OPTIONS,
    LOG_SCALE,
    TOKEN_TABLE,
    config_of_checkpoint,
    is_whisper_folder,
    teacher_files,
)
from espnet_plugin.teachers.whisper_files import encoder_hash
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.constants import EOT_ID, SOT_ID
from espnet_plugin.utils.files import cache_directory
from espnet_plugin.utils.hashing import content_hash, inode_stamp
from espnet_plugin.utils.small_files import read_json

if TYPE_CHECKING:
    from torch import Tensor

    from espnet_plugin.pretrained.choices import Choices
    from espnet_plugin.pretrained.stored_model import StoredModel

KIND = 2  # raised when a fingerprint covers other things, with the formats of indexes and parts
CACHE_KIND = 3  # raised when a model's files are read otherwise
# Frozen prefixes of SpeechCLIPModel, whose import takes seconds, and tensors beside its weights.
NOT_TRAINED = ("speech_encoder.", "clip.", TOKEN_TABLE, LOG_SCALE)
# No embedding depends on them.
NOT_EMBEDDED = {"loss", "loss_conf", "converted_from", "spoken_languages"}
OPTIONS_NOT_EMBEDDED = {"cache_dir", "image_tower", "text_tower"}
_FOLDER = "fingerprints"  # in the cache of released models


def model_fingerprint(source: str | Path) -> str:
    """Hash of all that decides a model's embeddings, the same for all forms in which it is stored.

    That is the trained weights, the options of every part, and what dev chose of branches and their
    weight. It is also the frozen speech encoder and CLIP, by the content of their files or by their
    public names. The model is not built. The result is cached while size and times of the model's
    files stay the same; then it takes milliseconds, without PyTorch.

    Args:
        source: A model in any form that :func:`load_speechclip` takes, which lists the errors, too.
    """
    return fingerprint_and_score(source)[0]


def fingerprint_and_score(source: str | Path) -> tuple[str, float]:
    """:func:`model_fingerprint`, and the lowest score of the keywords that the model reports."""
    path = resolve_model(source)
    name = hashlib.sha256(os.path.abspath(path).encode(errors="surrogateescape")).hexdigest()
    cache = cache_directory() / _FOLDER / f"{name[:32]}.json"
    kept = _kept(cache)
    if kept is not None:
        return kept
    from espnet_plugin.pretrained.storage import open_model

    with open_model(path, trusted=True) as stored:  # nothing that it names is built
        # before the files are read, so a change meanwhile shows the next time
        stamps = {str(file): inode_stamp(file) for file in _files(path, stored)}
        found = fingerprint_of(stored.config, stored.read_weights(), stored.choices)
    score = float(stored.choices.min_score)
    with contextlib.suppress(OSError):  # a cache that cannot be written
        record = {"kind": CACHE_KIND, "fingerprint": found, "min_score": score, "files": stamps}
        write_text(cache, json.dumps(record, indent=1) + "\n")
    return found, score


def model_files(source: str | Path, config: str | Path | None = None) -> dict[str, str]:
    """The files that decide a model's outputs, as inputs of a record; public parts have no file.

    Args:
        source: A model in any form that :func:`load_speechclip` takes, which lists the errors, too.
        config: ``config.yaml`` of a checkpoint, by default the one beside it.
    """
    from espnet_plugin.pretrained.storage import open_model

    path = resolve_model(source)
    if zipfile.is_zipfile(path) and path.suffix == ".zip":
        return {"model file 1": str(path)}
    with open_model(path, config, trusted=True) as stored:  # nothing that it names is built
        found = [Path(config)] if config else []
        found += [file for file in _files(path, stored) if file.is_file()]
    paths = dict.fromkeys(map(os.path.relpath, found))
    return {f"model file {number}": file for number, file in enumerate(paths, 1)}


def _kept(cache: Path) -> tuple[str, float] | None:
    """What is cached, or None if the model may have changed or the record is of an older kind."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        record = read_json(cache)
        unchanged = all(inode_stamp(file) == stamp for file, stamp in record["files"].items())
        if unchanged and record["files"] and record["kind"] == CACHE_KIND:
            return str(record["fingerprint"]), float(record["min_score"])
    return None


def fingerprint_of(
    config: Mapping[str, Any], weights: Mapping[str, Tensor], choices: Choices
) -> str:
    """The fingerprint of a model by its configuration, its weights and what dev chose."""
    from espnet_plugin.teachers.trained_parts import trains_encoder

    try:
        parts = [KIND, _options(config), choices.fusion_weight]
        parts += [choices.branch] if choices.branch else []  # models without keep theirs
        options = json.dumps(parts, sort_keys=True, default=str)
    except TypeError as error:
        raise ValueError(f"{CONFIG_FILE}: an option has no name ({error})") from error
    digest = hashlib.sha256(options.encode())
    trains = trains_encoder(config.get("speech_encoder_conf"))  # then a file holds what is trained
    left_out = tuple(name for name in NOT_TRAINED if not (trains and name == "speech_encoder."))
    for name, weight in sorted(weights.items()):
        if not name.startswith(left_out) or (name == TOKEN_TABLE and _is_changed(weight, config)):
            digest.update(f"{name} {tuple(weight.shape)}\n".encode())
            digest.update(weight.float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a model is built from, without what no embedding depends on; files by their content."""
    from espnet_plugin.pretrained.storage import CONFIG_KEYS

    options: dict[str, Any] = {}
    for key in (key for key in CONFIG_KEYS if key not in NOT_EMBEDDED and config.get(key)):
        value = options[key] = config[key]
        if isinstance(value, Mapping):
            kept = value.keys() - OPTIONS_NOT_EMBEDDED
            options[key] = {name: value[name] for name in kept if value[name] not in (None, {})}
    for section, option, value in _teachers(config):
        whisper = is_whisper_folder(config, section, value)
        options[section][option] = encoder_hash(Path(value)) if whisper else content_hash(value)
    options["keyword_vocabulary"] = _vocabulary(config)
    return options


def _teachers(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Section, name and value of the options that name frozen models on this disk."""
    for section, option in FILE_OPTIONS:
        value = (config.get(section) or {}).get(option)
        if isinstance(value, str) and teacher_files(section, value):
            yield section, option, value


def _vocabulary(config: Mapping[str, Any]) -> tuple[list[int], list[int]] | None:
    """Ids of the keyword vocabulary, in the order of its rows, and which are never chosen."""
    from espnet_plugin.model.factory import has_keywords
    from espnet_plugin.model.vocabulary import resolve_vocabulary

    if not has_keywords(config):
        return None
    found = resolve_vocabulary(config.get("keyword_vocabulary"), special_ids=(SOT_ID, EOT_ID))
    return list(found.ids), sorted(found.forbidden)


def _is_changed(table: Tensor, config: Mapping[str, Any]) -> bool:
    """Whether a model's own table of token embeddings differs from that of a CLIP on this disk."""
    import torch

    from espnet_plugin.teachers.clip_weights import read_token_embedding

    vocabulary = _vocabulary(config)
    file = Path(str((config.get("clip_conf") or {}).get("pretrained")))
    if vocabulary is None or not file.is_file():
        return False
    rows, (ids, _) = read_token_embedding(file), vocabulary  # rows: (tokens, token_dim)
    return rows is None or max(ids) >= len(rows) or not torch.equal(rows[ids], table.float())


def _files(path: Path, stored: StoredModel) -> Iterator[Path]:
    """The files that the fingerprint depends on, and folders, which may get more of them."""
    if path.is_file() and stored.root is not None:
        yield path  # a zip file, which holds everything
        return
    yield path / CONFIG_FILE if path.is_dir() else config_of_checkpoint(path)
    yield stored.weights_file
    yield stored.weights_file.with_name(CHOICES_FILE)
    vocabulary = stored.config.get("keyword_vocabulary")
    named = [value for *_, value in _teachers(stored.config)]
    named += [vocabulary] if isinstance(vocabulary, str) else []
    for value in map(os.path.abspath, named):
        yield from (Path(value), *teacher_files("", value))
