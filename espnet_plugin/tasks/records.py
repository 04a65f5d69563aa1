"""Records of stored hidden states and of a training, and what may be used again of them."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from espnet_plugin.data.frame_store import StoredFrames
from espnet_plugin.data.record import (
    Record,
    flat,
    make_record,
    read_record,
    require_made_from,
)
from espnet_plugin.model.factory import COMPONENTS, default_options, has_keywords, without_idle
from espnet_plugin.model.vocabulary import resolve_vocabulary
from espnet_plugin.pretrained.stored_model import CONFIG_FILE, FILE_OPTIONS, read_config
from espnet_plugin.tasks.speechclip_options import DEFAULT_MODEL
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.hashing import content_hash

STATES, TRAINING = "hidden states", "training"
NORMALIZES = "normalizes"  # whether the encoder's files ask for normalised waveforms
_STATES_REMEDY = (
    "training would learn from states that its speech encoder does not make. Run stage 6 again "
    "with the options of this training"
)
_SHAPES = ("train_shape_file", "valid_shape_file")
_DATA = ("train_data_path_and_name_and_type", "valid_data_path_and_name_and_type")


def states_record(
    config: Mapping[str, Any], *, normalizes: Any, dtype: Any, recordings: str | Path | None = None
) -> Record:
    """The record of stored hidden states.

    Args:
        config: Configuration with ``speech_encoder`` and ``speech_encoder_conf``.
        normalizes: Whether the encoder's files ask for normalised waveforms.
        dtype: Data type of the stored numbers.
        recordings: List of the recordings.

    Raises:
        DataError: If the training changes the encoder.
    """
    conf = _encoder_conf(config)
    if conf.get("train_layers") or conf.get("lora"):
        raise DataError(
            "speech_encoder_conf.train_layers and lora change the speech encoder, so its hidden "
            "states cannot be stored: train from recordings (--dump_speech_states false)"
        )
    if conf.get("normalize_waveform") is None:
        conf["normalize_waveform"] = normalizes
    options = {
        "speech_encoder": config.get("speech_encoder", "huggingface"),
        "speech_encoder_conf": conf,
        NORMALIZES: normalizes,
        "states_dtype": dtype,
    }
    models = {name: conf.get(name) for name in ("model", "checkpoint")}
    inputs = {f"speech_encoder_conf.{name}": value for name, value in models.items()}
    return make_record(STATES, options, inputs={**inputs, "recordings": recordings})


def require_own_states(scp: str | Path, config: Mapping[str, Any]) -> None:
    """Refuses hidden states of another encoder or normalisation, or of recordings that changed.

    Args:
        scp: Path of the list of the states.
        config: The training's ``speech_encoder`` and ``speech_encoder_conf``.

    Raises:
        DataError: If anything differs that decides the states, or there is no record.
    """
    for folder in StoredFrames(scp).folders():
        before = read_record(folder)
        known = before.options if before else {}
        now = states_record(
            config,
            normalizes=known.get(NORMALIZES),
            dtype=known.get("states_dtype"),
            recordings=_recordings(before),
        )
        require_made_from(folder, now, remedy=_STATES_REMEDY, before=before)


def _recordings(record: Record | None) -> str | None:
    return (record.inputs.get("recordings") or [None])[0] if record else None


def _encoder_conf(config: Mapping[str, Any]) -> dict[str, Any]:
    """The encoder's options with their defaults; what is switched off may be another encoder's."""
    known = default_options(config, "speech_encoder")
    given = config.get("speech_encoder_conf") or {}
    return known | {k: v for k, v in given.items() if k in known or v not in (None, False)}


def training_record(options: Mapping[str, Any], *, known_inputs: bool = True) -> Record:
    """The record of a training.

    Args:
        options: Of the training, as ESPnet's task has them.
        known_inputs: Whether the inputs are still those that the options name.
    """
    named: dict[str, Any] = {}
    decided = {
        name: value for name, value in _decided(options).items() if name not in (*_DATA, *_SHAPES)
    }
    for key in _DATA:
        for path, name, kind in options.get(key) or ():
            # states count by what they are of: other configurations may share their folder
            own = read_record(_folder(path)) if kind == "frames" and known_inputs else None
            named[f"{key.partition('_')[0]} {name}"] = _recordings(own) or path
            if own:
                decided["states_dtype"] = own.options.get("states_dtype")
    for key in (*_SHAPES, "init_param"):
        for number, value in enumerate(options.get(key) or (), 1):
            named[f"{key} {number}"] = str(value).split(":")[0]
    for section, option in FILE_OPTIONS:
        named[f"{section}.{option}"] = (options.get(section) or {}).get(option)
    if known_inputs:
        return make_record(TRAINING, decided, inputs=named)
    names = dict.fromkeys(named)
    paths = {name: [str(value), None] for name, value in named.items() if value is not None}
    return replace(make_record(TRAINING, decided, inputs=names), inputs=paths)


def _folder(scp: str | Path) -> Path:
    return next(iter(StoredFrames(scp).folders()), Path(scp).parent)


def _decided(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the defaults of the classes, and a hash of the vocabulary's numbers."""
    found = dict(options)
    for name, value in options.items():
        component = name.removesuffix("_conf")
        if name == "speech_encoder_conf":
            found[name] = _encoder_conf(options)
        elif name.endswith("_conf") and component in COMPONENTS:
            found[name] = {**default_options(options, component), **(value or {})}
        elif name == "model_conf":
            found[name] = {**DEFAULT_MODEL, **without_idle(value or {})}
        elif name == "keyword_vocabulary" and not isinstance(value, Mapping):
            used = value and has_keywords(options)
            ids = resolve_vocabulary(value, special_ids=()).ids if used else ()
            found[name] = content_hash(list(ids)) if ids else None
    return found


def has_weights(directory: Path) -> bool:
    """Whether a training has left weights in a folder."""
    files = (file for suffix in ("pth", "ckpt") for file in directory.glob(f"*.{suffix}"))
    return any(not file.name.startswith(".") for file in files)


def require_same_training(
    directory: Path, record: Record, *, parser: argparse.ArgumentParser
) -> None:
    """Compares a training with that of the weights in its folder; ``max_epoch`` may grow.

    Weights from before there were records are compared by the configuration beside them.

    Args:
        directory: Folder of the experiment, which has weights.
        record: The record of this training.
        parser: The task's, which has what an option is that is not given.

    Raises:
        ValueError: If anything else differs, or the folder's configuration cannot be read.
    """
    defaults = {action.dest: action.default for action in parser._actions}
    classes = {key: record.options[key] for key in COMPONENTS if key in record.options}
    unknown = flat(_decided({**defaults, **classes}))
    before = read_record(directory)
    if before is None:
        try:
            config = read_config(directory / CONFIG_FILE)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{error}. It says what the weights beside it were trained with: restore it, or "
                f"move {directory} away"
            ) from error
        before = training_record({**defaults, **config}, known_inputs=False)
        logging.warning(
            f"{directory}: its weights are from before there were records, so whether its data and "
            "frozen models were those of now is not known"
        )
        unknown = {**unknown, **record.options}
    require_made_from(
        directory,
        record,
        before=before,
        defaults=unknown,
        remedy="give the options and data of before to continue, or another folder "
        "(--speechclip_tag, --output_dir) to train another model, or move this one away",
    )
