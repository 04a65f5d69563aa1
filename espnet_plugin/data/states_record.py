"""The inputs of stored hidden states: written by stage 6, compared before training.

The record is beside the states, in the form of :func:`~espnet_plugin.data.freshness.made_from`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_plugin.data.frame_store import StoredFrames
from espnet_plugin.data.freshness import require_fresh
from espnet_plugin.utils.errors import DataError

REMEDY = (
    "training would learn from states that its speech encoder does not make. Run stage 6 again "
    "with the options of this training"
)


def encoder_options(
    source: str, conf: Mapping[str, Any], *, normalizes: bool | None = None
) -> dict[str, Any]:
    """Options of a speech encoder that decide its hidden states.

    A folder or file counts by its content, so you may move it. A public model counts by its name.

    Args:
        source: Name of the encoder's backend.
        conf: Options of :class:`FrozenSpeechEncoder`.
        normalizes: Whether the encoder's files ask for normalised waveforms, or None if unknown.

    Raises:
        DataError: If the training changes the encoder.
    """
    if conf.get("train_layers") or conf.get("lora"):
        raise DataError(
            "speech_encoder_conf.train_layers and lora change the speech encoder, so its hidden "
            "states cannot be stored: train from recordings (--dump_speech_states false)"
        )
    options = {
        "speech_encoder": source,
        "model": conf.get("model"),
        "checkpoint": conf.get("checkpoint"),
        "random_weights": conf.get("random_weights") or None,
        "frame_length_rule": conf.get("frame_length_rule", "exact"),
    }
    if ":" in source:  # any option of a user's class may count
        others = ("normalize_waveform", "dropout_in_training")
        options |= {name: value for name, value in conf.items() if name not in others}
    given = conf.get("normalize_waveform")
    if normalizes is not None:  # stage 6 has built the encoder
        used = normalizes if given is None else bool(given)
        by_default = used == normalizes
        return {**options, "normalize_waveform": used, "normalize_by_default": by_default}
    if given is None:
        return {**options, "normalize_by_default": True}
    return {**options, "normalize_waveform": bool(given)}


def require_own_states(scp: str | Path, source: str, conf: Mapping[str, Any]) -> None:
    """Refuses hidden states of another encoder or normalisation, or of recordings that changed.

    Args:
        scp: Path of the list of the states.
        source: Name of the backend of the training's encoder.
        conf: The training's final ``speech_encoder_conf``.

    Raises:
        DataError: If the inputs of the states differ, or there is no record.
    """
    wanted = encoder_options(source, conf)
    require_fresh(StoredFrames(scp).folders(), remedy=REMEDY, wanted=wanted)
