"""The HuBERT of a released checkpoint in the form of the transformers library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from espnet_plugin.speechclip.convert.fairseq_hubert import (
    hubert_config_options,
    map_fairseq_hubert,
)
from espnet_plugin.speechclip.weights import check_fit

# Trained for augmentation only; public copies of a model may lack it.
_NOT_COMPARED = ("masked_spec_embed",)


def write_hubert(directory: Path, weights: Mapping[str, Tensor]) -> None:
    """Writes ``config.json``, ``model.safetensors`` and ``preprocessor_config.json`` as
    ``save_pretrained`` does.

    Args:
        directory: Where.
        weights: Under fairseq's names.

    Raises:
        ValueError: If these are no weights of a HuBERT.
    """
    from transformers import HubertConfig, HubertModel

    config = HubertConfig(**_options(weights), architectures=["HubertModel"])
    mapped = _mapped(weights)
    with torch.device("meta"):
        expected = HubertModel(config).state_dict()
    for name in _NOT_COMPARED:
        expected.pop(name, None)
    compared = {key: value for key, value in mapped.items() if key not in _NOT_COMPARED}
    check_fit(compared, expected, "the weights of the HuBERT do not fit")
    directory.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(directory)
    save_file(
        {key: value.float().contiguous() for key, value in mapped.items()},
        directory / "model.safetensors",
        metadata={"format": "pt"},
    )
    preprocessor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": 16000,
        "padding_value": 0.0,
        "do_normalize": config.feat_extract_norm == "layer",
        "return_attention_mask": config.feat_extract_norm == "layer",
    }
    (directory / "preprocessor_config.json").write_text(
        json.dumps(preprocessor, indent=2) + "\n", "utf-8"
    )


def differing_hubert_weights(weights: Mapping[str, Tensor], model: str) -> list[str]:
    """Names of weights that differ from those of a public model, or that only one of them has.

    Args:
        weights: Under fairseq's names.
        model: Hub name or local directory.
    """
    from espnet_plugin.speechclip.backends.huggingface_loading import load_encoder

    public = load_encoder(model).state_dict()
    mapped = _mapped(weights)
    names = (mapped.keys() | public.keys()) - set(_NOT_COMPARED)
    return sorted(
        name
        for name in names
        if name not in mapped
        or name not in public
        or not torch.equal(mapped[name].float(), public[name].float())
    )


def _options(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    try:
        return hubert_config_options(weights)
    except KeyError as error:
        raise ValueError(
            f"the speech encoder in the checkpoint is no HuBERT: it has no {error.args[0]}"
        ) from error


def _mapped(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    try:
        return map_fairseq_hubert(weights)
    except KeyError as error:
        raise ValueError(f"the speech encoder in the checkpoint: {error.args[0]}") from error
