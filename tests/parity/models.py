"""Our models with the reference's weights, built from a fixture file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from espnet_plugin.speechclip.clip import FrozenCLIP
from espnet_plugin.speechclip.compatibility import ReferenceCompatibility
from espnet_plugin.speechclip.convert.fairseq_hubert import (
    hubert_config_options,
    map_fairseq_hubert,
)
from espnet_plugin.speechclip.convert.reference_config import map_config
from espnet_plugin.speechclip.convert.reference_keys import MappedWeights, map_weights
from espnet_plugin.speechclip.factory import build_speechclip
from espnet_plugin.speechclip.losses import MaskedContrastiveLoss
from espnet_plugin.speechclip.model import SpeechCLIP
from espnet_plugin.speechclip.speech_encoder import FrozenSpeechEncoder
from espnet_plugin.train.espnet_model import ESPnetSpeechCLIPModel

VOCABULARY_SIZE = 49408
STORE = TemporaryDirectory(prefix="speechclip_parity_")


@dataclass(frozen=True)
class Teachers:
    """The frozen parts of a fixture file."""

    speech_encoder: FrozenSpeechEncoder
    clip: FrozenCLIP


def build(
    content: Mapping[str, Any], *, compatibility: ReferenceCompatibility
) -> ESPnetSpeechCLIPModel:
    """The model with its objectives and the reference's weights, in training mode."""
    mapped = map_weights(content["state_dict"])
    assert not mapped.unknown
    config = map_config(content["config"], content["state_dict"])
    config["keyword_vocabulary"] = list(content["vocab"]["ids"])
    config["model_conf"]["compatibility"] = compatibility
    found = teachers(content, mapped)
    speechclip = build_speechclip(config, speech_encoder=found.speech_encoder, clip=found.clip)
    forbid(speechclip, content["vocab"]["forbidden_rows"])
    load_trained(speechclip, mapped)
    model_conf = {
        name: value for name, value in config["model_conf"].items() if name.endswith("_weight")
    }
    model = ESPnetSpeechCLIPModel(
        speechclip, MaskedContrastiveLoss, config["loss_conf"], **model_conf
    )
    if mapped.log_scale is not None:
        model.loss.log_scale.data.copy_(mapped.log_scale)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # the fixtures are deterministic
    return model


def forbid(speechclip: SpeechCLIP, rows: list[int]) -> None:
    """The original also keeps its padding token from being chosen."""
    if speechclip.vocabulary is not None:
        assert set(speechclip.forbidden_rows.nonzero()[:, 0].tolist()) <= set(rows)
        speechclip.forbidden_rows[rows] = True


def load_trained(speechclip: SpeechCLIP, mapped: MappedWeights) -> None:
    """Loads the trained part strictly."""
    missing, unexpected = speechclip.load_state_dict(mapped.trained, strict=False)
    assert not unexpected
    left = [key for key in missing if not key.startswith(speechclip.frozen_prefixes)]
    learned = ["quantizer.temperature"] if mapped.quantizer_temperature is not None else []
    assert set(left) <= set(learned)
    if mapped.quantizer_temperature is not None:
        speechclip.quantizer.temperature.data.fill_(mapped.quantizer_temperature.item())


_TEACHERS: dict[int, Teachers] = {}


def teachers(content: Mapping[str, Any], mapped: MappedWeights) -> Teachers:
    """Frozen encoder and CLIP, written once in the formats that the real loaders read."""
    if id(content) not in _TEACHERS:
        directory = Path(STORE.name) / str(len(_TEACHERS))
        directory.mkdir()
        _TEACHERS[id(content)] = Teachers(
            write_speech_encoder(content, mapped, directory), write_clip(content, mapped, directory)
        )
    return _TEACHERS[id(content)]


def write_speech_encoder(
    content: Mapping[str, Any], mapped: MappedWeights, directory: Path
) -> FrozenSpeechEncoder:
    from transformers import HubertConfig, HubertModel

    options = hubert_config_options(
        mapped.speech_encoder, num_heads=content["encoder"]["num_attention_heads"]
    )
    model = HubertModel(HubertConfig(**options))
    model.load_state_dict(map_fairseq_hubert(mapped.speech_encoder), strict=False)
    model.save_pretrained(directory / "hubert")
    normalize = bool(content["config"]["data"]["dataset"].get("normalize_waveform", False))
    normalize = normalize or content["encoder"]["waveform_layer_norm_in_encoder"]
    return FrozenSpeechEncoder(
        "huggingface", model=str(directory / "hubert"), normalize_waveform=normalize
    )


def write_clip(content: Mapping[str, Any], mapped: MappedWeights, directory: Path) -> FrozenCLIP:
    config = clip_options(content["clip"])
    weights = dict(mapped.clip)
    reduced = weights["token_embedding.weight"]
    weights["token_embedding.weight"] = full_table(reduced, tuple(content["vocab"]["ids"]))
    (directory / "clip.json").write_text(json.dumps(config))
    save_file(
        {key: value.contiguous() for key, value in weights.items()}, directory / "clip.safetensors"
    )
    return FrozenCLIP(
        model=str(directory / "clip.json"), pretrained=str(directory / "clip.safetensors")
    )


def clip_options(sizes: Mapping[str, Any]) -> dict[str, Any]:
    """open_clip's configuration of a CLIP of given sizes."""
    return {
        "embed_dim": sizes["embed_dim"],
        "quick_gelu": sizes["quick_gelu"],
        "vision_cfg": {
            "image_size": sizes["image_resolution"],
            "layers": sizes["vision_layers"],
            "width": sizes["vision_width"],
            "head_width": sizes["vision_width"] // sizes["vision_heads"],
            "patch_size": sizes["vision_patch_size"],
        },
        "text_cfg": {
            "context_length": sizes["context_length"],
            "vocab_size": VOCABULARY_SIZE,
            "width": sizes["transformer_width"],
            "heads": sizes["transformer_heads"],
            "layers": sizes["transformer_layers"],
        },
    }


def full_table(reduced: Tensor, ids: tuple[int, ...]) -> Tensor:
    """The reduced table's rows at their token ids; zeros elsewhere, which nothing reads."""
    table = reduced.new_zeros(VOCABULARY_SIZE, reduced.size(1))
    table[list(ids)] = reduced
    return table


def reference_names(state_dict: Mapping[str, Tensor]) -> dict[str, str]:
    """Our name of each trained weight -> the original's."""
    owner = {value.data_ptr(): key for key, value in state_dict.items()}
    return {
        name: owner[value.data_ptr()] for name, value in map_weights(state_dict).trained.items()
    }


def text_tower(ids: list[int], weights: Mapping[str, Tensor]) -> FrozenCLIP:
    """A CLIP with a given text tower and an image tower that nobody uses."""
    width = weights["positional_embedding"].size(1)
    layers = {key.split(".")[2] for key in weights if key.startswith("transformer.resblocks.")}
    content = {
        "clip": {
            "embed_dim": weights["text_projection"].size(1),
            "quick_gelu": True,
            "image_resolution": 32,
            "vision_layers": 1,
            "vision_width": 64,
            "vision_heads": 1,
            "vision_patch_size": 16,
            "context_length": weights["positional_embedding"].size(0),
            "transformer_width": width,
            "transformer_heads": 1,
            "transformer_layers": len(layers),
        },
        "vocab": {"ids": ids},
    }
    key = id(weights)
    if key not in _TEXT_TOWERS:
        directory = Path(STORE.name) / f"text{len(_TEXT_TOWERS)}"
        directory.mkdir()
        _TEXT_TOWERS[key] = write_clip(
            content, MappedWeights(clip=with_vision(weights, content)), directory
        )
    return _TEXT_TOWERS[key]


_TEXT_TOWERS: dict[int, FrozenCLIP] = {}


def with_vision(weights: Mapping[str, Tensor], content: Mapping[str, Any]) -> dict[str, Tensor]:
    import open_clip

    model = open_clip.CLIP(**clip_options(content["clip"]))
    state = {key: value for key, value in model.state_dict().items() if key.startswith("visual.")}
    return {**state, **weights}
