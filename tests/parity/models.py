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

from espnet_plugin.model.factory import build_speechclip
from espnet_plugin.model.keywords import Keywords
from espnet_plugin.model.losses import MaskedContrastiveLoss
from espnet_plugin.model.model import SpeechCLIPModel
from espnet_plugin.model.objectives import Objectives
from espnet_plugin.pretrained.convert.fairseq_hubert import (
    hubert_config_options,
    map_fairseq_hubert,
)
from espnet_plugin.pretrained.convert.reference_config import map_config
from espnet_plugin.pretrained.convert.reference_keys import MappedWeights, map_weights
from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder
from espnet_plugin.train.espnet_model import ESPnetSpeechCLIPModel
from espnet_plugin.utils.compatibility import ReferenceCompatibility

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
    ids = list(content["vocab"]["ids"])
    config["keyword_vocabulary"] = {
        "ids": ids,
        "forbidden": [ids[row] for row in content["vocab"]["forbidden_rows"]],
    }
    config["model_conf"]["compatibility"] = compatibility
    found = teachers(content, mapped)
    speechclip = build_speechclip(config, speech_encoder=found.speech_encoder, clip=found.clip)
    load_trained(speechclip, mapped)
    weights = {
        name: value for name, value in config["model_conf"].items() if name.endswith("_weight")
    }
    loss = MaskedContrastiveLoss(**config["loss_conf"])
    model = ESPnetSpeechCLIPModel(speechclip, loss, Objectives(**weights))
    if mapped.log_scale is not None:
        model.loss.log_scale.data.copy_(mapped.log_scale)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # the fixtures are deterministic
    return model


def load_trained(speechclip: SpeechCLIPModel, mapped: MappedWeights) -> None:
    """Loads the trained part strictly."""
    missing, unexpected = speechclip.load_state_dict(mapped.trained, strict=False)
    assert not unexpected
    left = [key for key in missing if not key.startswith(speechclip.frozen_prefixes)]
    learned = mapped.quantizer_temperature
    assert set(left) <= ({"keyword_branch.quantizer.temperature"} if learned is not None else set())
    if learned is not None:
        speechclip.keyword_branch.quantizer.temperature.data.fill_(learned.item())


# By the content's identity, which is nobody else's as long as the content is kept.
_TEACHERS: dict[int, tuple[Mapping[str, Any], Teachers]] = {}


def teachers(content: Mapping[str, Any], mapped: MappedWeights) -> Teachers:
    """Frozen encoder and CLIP, written once in the formats that the real loaders read."""
    if id(content) not in _TEACHERS:
        directory = Path(STORE.name) / str(len(_TEACHERS))
        directory.mkdir()
        written = Teachers(
            write_speech_encoder(content, mapped, directory), write_clip(content, mapped, directory)
        )
        _TEACHERS[id(content)] = content, written
    return _TEACHERS[id(content)][1]


def write_speech_encoder(
    content: Mapping[str, Any], mapped: MappedWeights, directory: Path
) -> FrozenSpeechEncoder:
    from transformers import HubertConfig, HubertModel

    model = HubertModel(HubertConfig(**hubert_config_options(mapped.speech_encoder)))
    model.load_state_dict(map_fairseq_hubert(mapped.speech_encoder), strict=False)
    model.save_pretrained(directory / "hubert")
    return FrozenSpeechEncoder(
        HuggingFaceBackend(model=str(directory / "hubert")),
        normalize_waveform=normalizes_waveform(content),
    )


def normalizes_waveform(content: Mapping[str, Any]) -> bool:
    """Whether the transformer gets normalised waves: from the data set or inside the encoder."""
    dataset = content["config"]["data"]["dataset"]
    inside = content["encoder"]["waveform_layer_norm_in_encoder"]
    return bool(dataset.get("normalize_waveform", False)) or inside


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


def in_our_layout(
    recorded: Mapping[str, Tensor], state_dict: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What is recorded of weights (gradients, later values), under our names and in our shapes.

    Args:
        recorded: By the original's names.
        state_dict: All weights, which say what some names mean.
    """
    mapped = map_weights({**state_dict, **recorded})
    ours = {
        mapped.renamed[key]: mapped.trained[mapped.renamed[key]]
        for key in recorded
        if key in mapped.renamed
    }
    if "criterion.temperature" in recorded:
        ours["loss.log_scale"] = mapped.log_scale
    if "cascaded_branch.vector_quantizer.curr_temp" in recorded:
        ours["keyword_branch.quantizer.temperature"] = mapped.quantizer_temperature
    known = {*mapped.renamed, "criterion.temperature"}
    known.add("cascaded_branch.vector_quantizer.curr_temp")
    assert set(recorded) <= known
    return ours


def trained_values(model: ESPnetSpeechCLIPModel) -> dict[str, Tensor]:
    """Parameters and running statistics under the names of :func:`in_our_layout`."""
    values = dict(model.speechclip.named_parameters())
    values |= dict(model.speechclip.named_buffers())
    return values | {f"loss.{name}": value for name, value in model.loss.named_parameters()}


def zero_gradients(speechclip: SpeechCLIPModel, keywords: Keywords | None) -> dict[str, Tensor]:
    """Entries of weights whose gradient is analytically zero; what is recorded is rounding noise.

    The keyword batch norm takes out whatever is added to all of the rows that it normalises
    together. That holds for the projection's last bias; for a hidden bias whose unit is open (or
    closed) in all of them; and for the block's last bias where nothing but keywords is made of it.

    Args:
        speechclip: In training mode, without dropout.
        keywords: Of the batch.

    Returns:
        Our name -> True at such entries, in the weight's shape.
    """
    if keywords is None or speechclip.keyword_branch.norm is None:
        return {}
    layers = list(speechclip.keyword_branch.projection)
    last = f"keyword_branch.projection.{len(layers) - 1}.bias"
    zero = {last: torch.ones_like(layers[-1].bias).bool()}
    shared = speechclip.keyword_branch.norm.num_slots is None
    x, settled = keywords.slots.detach(), {}
    for index, layer in enumerate(layers):
        if isinstance(layer, torch.nn.ReLU):
            is_open = x.flatten(0, 1)[:, None] > 0 if shared else x > 0  # (rows, groups, units)
            settled[index - 1] = (is_open.all(dim=0) | ~is_open.any(dim=0)).all(dim=0)  # (units,)
        x = layer(x)
    affine = True  # from here to the batch norm
    for index in reversed(settled):
        zero[f"keyword_branch.projection.{index}.bias"] = settled[index] & affine
        affine = affine and bool(settled[index].all())
    from_queries = speechclip.keyword_branch.num_queries > 0
    if affine and from_queries and speechclip.parallel_projection is None:
        zero["attention.norm.bias"] = torch.ones_like(speechclip.attention.norm.bias).bool()
    return zero


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
