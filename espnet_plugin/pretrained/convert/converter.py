"""Convert a released checkpoint into a directory that this package loads."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_plugin.model.factory import build_speechclip
from espnet_plugin.pretrained.convert.checkpoint import ReleasedCheckpoint, read_released_checkpoint
from espnet_plugin.pretrained.convert.clip_export import (
    MODEL_FILE,
    TOKEN_EMBEDDING,
    WEIGHTS_FILE,
    write_clip,
)
from espnet_plugin.pretrained.convert.fairseq_hubert import write_hubert
from espnet_plugin.pretrained.convert.reference_config import map_config
from espnet_plugin.pretrained.convert.reference_keys import (
    CLIP_COPY,
    MappedWeights,
    map_weights,
)
from espnet_plugin.pretrained.convert.vocabulary_ids import FORBIDDEN_ROWS, recover_ids
from espnet_plugin.pretrained.stored_model import (
    CLIP_DIRECTORY,
    LOG_SCALE,
    SPEECH_ENCODER_DIRECTORY,
    TOKEN_TABLE,
    resolve_paths,
    write_config,
    write_weights,
)
from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.teachers.weights import check_fit
from espnet_plugin.utils.architectures import architecture_name
from espnet_plugin.utils.compatibility import ReferenceCompatibility
from espnet_plugin.utils.constants import NUM_TOKENS
from espnet_plugin.utils.scratch import new_directory


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Attributes:
        source: Path of the checkpoint.
        architecture: Its architecture: parallel, cascaded, cascaded+, hybrid or hybrid+.
        notes: Lines about everything else that was found.
    """

    source: str
    architecture: str
    notes: list[str]


def convert_checkpoint(
    source: str | Path,
    directory: str | Path,
    *,
    compatibility: Iterable[str] = (),
    force: bool = False,
) -> Conversion:
    """Converts a released checkpoint of SpeechCLIP or SpeechCLIP+.

    Nothing in the file is executed. The directory appears when it is complete; an error leaves
    nothing behind.

    Args:
        source: Path of a Lightning checkpoint.
        directory: Directory where the result goes.
        compatibility: Names of the switches of ``ReferenceCompatibility`` to store as on.
        force: Whether to replace a directory that is not empty.

    Raises:
        FileExistsError: If the directory is not empty.
        FileNotFoundError: If a file is missing.
        ValueError: If it is damaged, incomplete, of another model, or holds something unknown.
    """
    switches = asdict(ReferenceCompatibility.from_config(dict.fromkeys(compatibility, True)))
    with new_directory(directory, force=force) as target:
        checkpoint = read_released_checkpoint(source)
        try:
            config, notes = _convert(checkpoint, target)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        config["model_conf"]["compatibility"] = switches
        config["converted_from"] = Path(source).name  # for the licence
        write_config(target, config)
    return Conversion(str(source), architecture_name(config), notes)


def _convert(checkpoint: ReleasedCheckpoint, target: Path) -> tuple[dict[str, Any], list[str]]:
    """Writes the three parts; returns the configuration and notes.

    Every weight goes into a part, or is left out for a reason that ``map_weights`` knows.
    """
    try:
        config = map_config(checkpoint.config, checkpoint.weights)
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"the checkpoint's configuration lacks or misuses {error}") from error
    mapped = map_weights(checkpoint.weights)
    if mapped.unknown:
        named = ", ".join(sorted(mapped.unknown)[:5])
        raise ValueError(
            f"weights that no SpeechCLIP has, or has once only ({len(mapped.unknown)}): {named}"
        )
    _check_copies(checkpoint.weights)
    notes = [f"{key} {value}" for key, value in checkpoint.progress.items()]
    if checkpoint.stubs:
        notes.append(f"objects that were not read: {', '.join(checkpoint.stubs)}")
    if checkpoint.ignored:
        notes.append(f"entries that are not part of the model: {', '.join(checkpoint.ignored)}")
    table = _convert_clip(mapped, config, target, notes)
    write_hubert(target / SPEECH_ENCODER_DIRECTORY, mapped.speech_encoder)
    config["speech_encoder_conf"]["model"] = SPEECH_ENCODER_DIRECTORY
    _convert_trained(mapped, config, table, target, notes)
    return config, notes


def _check_copies(weights: Mapping[str, Tensor]) -> None:
    """Refuses a second copy of CLIP that is not one."""
    for key in weights:
        if key.startswith(CLIP_COPY):
            original = key.removeprefix("cascaded_branch.")
            if original not in weights or not torch.equal(weights[original], weights[key]):
                raise ValueError(f"{key} is not a copy of {original}")


def _convert_clip(
    mapped: MappedWeights, config: dict[str, Any], target: Path, notes: list[str]
) -> Tensor | None:
    """Writes CLIP with its whole token table, and finds the keyword vocabulary's tokens in it.

    The rows of the reduced table in the checkpoint are those of the vocabulary.

    Returns:
        Embeddings of the vocabulary's tokens, or None without keywords.
    """
    rows, table = mapped.clip[TOKEN_EMBEDDING], mapped.full_table
    if table is None:
        table = rows
        if len(table) != NUM_TOKENS:
            raise ValueError("the checkpoint has a reduced token table only, not the whole one")
    write_clip(target / CLIP_DIRECTORY, mapped.clip, table)
    config["clip_conf"] = {
        "model": f"{CLIP_DIRECTORY}/{MODEL_FILE}",
        "pretrained": f"{CLIP_DIRECTORY}/{WEIGHTS_FILE}",
    }
    if config["keyword_extractor"] == "none":
        return None
    ids = list(range(len(table))) if len(rows) == len(table) else recover_ids(rows, table)
    forbidden = [ids[row] for row in FORBIDDEN_ROWS if row < len(ids)]
    config["keyword_vocabulary"] = {"ids": ids, "forbidden": forbidden}
    notes.append(
        f"keyword vocabulary of {len(ids):,}, recovered from the token table; never chosen: "
        f"{forbidden}"
    )
    return table[ids]


def _convert_trained(
    mapped: MappedWeights,
    config: dict[str, Any],
    table: Tensor | None,
    target: Path,
    notes: list[str],
) -> None:
    """Writes the trained part, compared with the model that the configuration describes."""
    trained = dict(mapped.trained)
    if mapped.quantizer_temperature is not None:
        conf, value = config["quantizer_conf"], mapped.quantizer_temperature
        stored = round(float(value), 6)
        if isinstance(conf["temperature"], str):  # learned
            trained["keyword_branch.quantizer.temperature"] = value.reshape(())
        elif abs(stored - conf["temperature"]) > 1e-6:
            notes.append(
                f"quantizer temperature {stored} of the weights taken, the configuration says "
                f"{conf['temperature']}"
            )
            conf["temperature"] = stored
    expected = _expected_weights(target, config, table)
    check_fit(trained, expected, "the weights of the trained part do not fit")
    damaged = [
        key
        for key, value in trained.items()
        if value.is_floating_point() and not value.isfinite().all()
    ]
    if damaged:
        raise ValueError(f"not every number is finite in {', '.join(sorted(damaged)[:3])}")
    trained = {
        key: value.float() if value.is_floating_point() else value for key, value in trained.items()
    }
    others = {TOKEN_TABLE: table, LOG_SCALE: mapped.log_scale}
    trained |= {key: value for key, value in others.items() if value is not None}
    write_weights(target, trained)


def _expected_weights(
    directory: Path, config: Mapping[str, Any], table: Tensor | None
) -> dict[str, Tensor]:
    """Names and shapes of the trained part that a configuration describes, as meta tensors.

    Args:
        directory: Directory at which the configuration's relative paths start.
        config: Configuration of the converted model.
        table: Embeddings of its keyword vocabulary, or None if it has none.
    """
    config = resolve_paths(dict(config), directory)
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # "random weights"
    try:
        with torch.device("meta"):
            encoder_conf = {**config["speech_encoder_conf"], "random_weights": True}
            model = build_speechclip(
                {**config, "speech_encoder_conf": encoder_conf},
                clip=FrozenCLIP(
                    model=config["clip_conf"]["model"], image_tower=False, text_tower=False
                ),
                token_table=None if table is None else table.to("meta"),
            )
    finally:
        logging.disable(level)
    return model.trained_of(model.state_dict())
