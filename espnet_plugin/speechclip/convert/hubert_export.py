"""The HuBERT of a released checkpoint in the form of the transformers library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from espnet_plugin.speechclip.convert.fairseq_hubert import (
    hubert_config_options,
    map_fairseq_hubert,
)
from espnet_plugin.speechclip.weights import check_fit

# Trained for augmentation only; public copies of a model may lack it.
NOT_COMPARED = ("masked_spec_embed",)


def write_hubert(directory: Path, weights: Mapping[str, Tensor]) -> None:
    """Writes ``config.json``, ``model.safetensors`` and ``preprocessor_config.json`` as
    ``save_pretrained`` does.

    Args:
        directory: Where.
        weights: Under fairseq's names.

    Raises:
        ValueError: If these are no weights of a HuBERT.
    """
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    try:
        config = HubertConfig(**hubert_config_options(weights), architectures=["HubertModel"])
    except KeyError as error:
        raise ValueError(
            f"the speech encoder in the checkpoint is no HuBERT: it has no {error.args[0]}"
        ) from error
    mapped = map_fairseq_hubert(weights)
    with torch.device("meta"):
        expected = HubertModel(config).state_dict()
    for name in NOT_COMPARED:
        expected.pop(name, None)
    compared = {key: value for key, value in mapped.items() if key not in NOT_COMPARED}
    check_fit(compared, expected, "the weights of the HuBERT do not fit")
    directory.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(directory)
    save_file(
        {key: value.float().contiguous() for key, value in mapped.items()},
        directory / "model.safetensors",
        metadata={"format": "pt"},
    )
    large = config.feat_extract_norm == "layer"
    extractor = Wav2Vec2FeatureExtractor(do_normalize=large, return_attention_mask=large)
    extractor.save_pretrained(directory)
