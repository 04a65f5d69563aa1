"""What a model from elsewhere may name.

A configuration comes with its model, so the author of the file chooses what is imported and read.
What is listed here reads tensors and plain values only. Anything else needs the user's consent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from espnet_plugin.model.factory import COMPONENTS
from espnet_plugin.pretrained.stored_model import file_options, teacher_files
from espnet_plugin.teachers.clip_config import fetched_parts, read_clip_config
from espnet_plugin.teachers.hub import is_remote_name
from espnet_plugin.utils.options import is_own_class

# Upstreams of s3prl that read no file of the model: features, and weights that s3prl publishes in a
# form that loads weights-only. No upstream that takes a checkpoint is here: some unpickle it, and
# those of HuBERT, wav2vec 2.0 and WavLM evaluate a string of its configuration as Python.
SAFE_UPSTREAMS = frozenset(
    "baseline fbank fbank_no_cmvn linear mel mfcc spectrogram stft_mag "
    "hubert hubert_base hubert_large_ll60k hubert_base_robust_mgr mhubert_base_vp_en_es_fr_it3 "
    "contentvec contentvec_km100 contentvec_km500 "
    "wav2vec2 wav2vec2_base_960 wav2vec2_large_960 wav2vec2_large_ll60k xlsr_53 xls_r_300m "
    "wavlm wavlm_base wavlm_base_plus wavlm_large "
    "data2vec data2vec_base_960 data2vec_large_ll60k "
    "unispeech_sat unispeech_sat_base unispeech_sat_base_plus unispeech_sat_large".split()
)


class UntrustedModelError(ValueError):
    """A model names something that could run code."""


def check_trusted(
    config: Mapping[str, Any], source: str | Path, *, root: Path | None = None
) -> None:
    """Refuses a configuration that names anything but what is known to read safe formats.

    Args:
        config: Configuration of a model, with resolved local paths.
        source: Name or path of the model, which the message names.
        root: Folder that holds all of the model, which may then name no other files.

    Raises:
        UntrustedModelError: If it names anything else; the message says how to trust the model.
    """
    remedy = "if you trust its author, load it with trust_remote_code=True (--trust_remote_code)"
    for section, name, value in file_options(config):
        if root is None or lies_within(value, root):
            continue
        # only a frozen model can be a download, and what is here would be read instead of it
        if section and is_remote_name(value) and not teacher_files(section, value):
            continue
        option = f"{section}.{name}".lstrip(".")
        raise UntrustedModelError(
            f"{source}: its {option} names {value}, which is not a part of it; {remedy}"
        )
    for part in unsafe_parts(config):
        raise UntrustedModelError(
            f"{source}: its configuration names {part}, which may run code that comes with the "
            f"model; {remedy}"
        )


def lies_within(path: str | Path, root: Path) -> bool:
    """Whether a path is in a folder by its names: links in the hub's cache lead elsewhere."""
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root))


def unsafe_parts(config: Mapping[str, Any]) -> Iterator[str]:
    """What a configuration names that may run code, in words."""
    encoder = config.get("speech_encoder", "huggingface")
    encoder_conf = config.get("speech_encoder_conf") or {}
    if encoder == "s3prl":
        upstream = str(encoder_conf.get("model"))
        if upstream not in SAFE_UPSTREAMS:
            yield f"the s3prl upstream {upstream!r}"
        if encoder_conf.get("checkpoint") is not None:
            yield "a checkpoint that s3prl reads"
    for key in COMPONENTS:
        if is_own_class(config.get(key)):
            yield f"the {key} {config[key]!r}"
    clip = (config.get("clip_conf") or {}).get("model")
    if clip is not None:
        yield from fetched_parts(read_clip_config(str(clip)))
