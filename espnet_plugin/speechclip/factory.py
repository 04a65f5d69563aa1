"""Building a model from a configuration, and loading a trained one.

A configuration is plain data: the keys of an ESPnet ``config.yaml`` that concern the model.

    speech_encoder: huggingface | s3prl
    speech_encoder_conf: {model: facebook/hubert-base-ls960}
    layer_weighting_conf: {normalize: false}
    clip_conf: {model: ViT-B-32-quickgelu, pretrained: openai}
    keyword_vocabulary: path of a vocabulary file, or a list of token ids, or {ids: [...],
        forbidden: [...]}
    attention: attention | transformer
    attention_conf: {num_heads: 1}
    parallel_projection_conf: {hidden_dims: []}
    keyword_extractor: none | cls | cif
    keyword_extractor_conf: {frames_per_keyword: 20}
    keyword_projection_conf: {hidden_dims: []}
    keyword_norm: batch | none
    keyword_norm_conf: {scale: 1.0, per_slot: true}
    quantizer: straight_through
    quantizer_conf: {temperature: 0.1}
    model_conf: {parallel: true, merge_repeats: false, align_spans: false, compatibility: {}}
    converted_from: name of the original implementation's checkpoint, if it is one; builds nothing

Each ``*_conf`` holds keyword arguments of the class that the docstring of the same name describes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from espnet_plugin.speechclip.attention import ATTENTIONS
from espnet_plugin.speechclip.clip import FrozenCLIP
from espnet_plugin.speechclip.compatibility import ReferenceCompatibility
from espnet_plugin.speechclip.keyword_extractor import KEYWORD_EXTRACTORS
from espnet_plugin.speechclip.keyword_norm import KEYWORD_NORMS
from espnet_plugin.speechclip.model import KeywordPath, SpeechCLIPModel
from espnet_plugin.speechclip.options import COMPATIBILITY, check_options, choose, options_of
from espnet_plugin.speechclip.projection import projection
from espnet_plugin.speechclip.quantizer import QUANTIZERS
from espnet_plugin.speechclip.speech_encoder import FrozenSpeechEncoder, LayerWeighting
from espnet_plugin.speechclip.vocabulary import resolve_vocabulary


def build_speechclip(
    config: Mapping[str, Any],
    *,
    speech_encoder: FrozenSpeechEncoder | None = None,
    clip: FrozenCLIP | None = None,
    token_table: Tensor | None = None,
) -> SpeechCLIPModel:
    """Builds an untrained model.

    Args:
        config: As described at the top of this module.
        speech_encoder: Use this encoder instead of building one.
        clip: Use this CLIP instead of building one.
        token_table: Embeddings of the vocabulary's tokens, (V, token_dim); None: taken from CLIP.

    Raises:
        ValueError: If the configuration names something unknown; the message says what is known.
    """
    model_conf = config.get("model_conf") or {}
    if speech_encoder is None:
        source = config.get("speech_encoder", "huggingface")
        speech_encoder = _build(config, "speech_encoder_conf", FrozenSpeechEncoder, source)
    if clip is None:
        clip = _build(config, "clip_conf", FrozenCLIP)
    dim, num_layers = speech_encoder.dim, speech_encoder.num_layers
    attention = choose("attention", ATTENTIONS, config.get("attention", "attention"))
    return SpeechCLIPModel(
        speech_encoder=speech_encoder,
        layer_weighting=_build(config, "layer_weighting_conf", LayerWeighting, num_layers),
        attention=_build(config, "attention_conf", attention, dim),
        clip=clip,
        dim=dim,
        parallel_projection=_build(
            config, "parallel_projection_conf", projection, dim, clip.embedding_dim
        )
        if model_conf.get("parallel", True)
        else None,
        keyword_path=_build_keyword_path(config, dim, clip, token_table)
        if has_keywords(config)
        else None,
        merge_repeats=model_conf.get("merge_repeats", False),
        align_spans=model_conf.get("align_spans", False),
        compatibility=_compatibility(config),
    )


def has_keywords(config: Mapping[str, Any]) -> bool:
    """Whether a configuration's model extracts keywords."""
    return config.get("keyword_extractor", "cif") not in (None, "none")


def architecture_name(config: Mapping[str, Any]) -> str:
    """The papers' name of what a configuration describes, or ours."""
    extractor = config.get("keyword_extractor", "cif")
    if extractor == "none":
        return "parallel"
    name = "hybrid" if config.get("model_conf", {}).get("parallel", True) else "cascaded"
    name += {"cls": "", "cif": "+"}.get(extractor, f" ({extractor})")
    hard = (config.get("quantizer_conf") or {}).get("hard", True)
    return name if hard else f"{name} annealed"


def _build_keyword_path(
    config: Mapping[str, Any], dim: int, clip: FrozenCLIP, table: Tensor | None
) -> KeywordPath:
    name = config.get("keyword_extractor", "cif")
    extractor_class = choose("keyword_extractor", KEYWORD_EXTRACTORS, name)
    extractor = _build(config, "keyword_extractor_conf", extractor_class, dim)
    vocabulary = resolve_vocabulary(
        config.get("keyword_vocabulary"), special_ids=(clip.sot_id, clip.eot_id)
    )
    if table is None:
        tokens, last = clip.token_embedding.size(0), max(vocabulary.ids)
        if last >= tokens:
            raise ValueError(
                f"the keyword vocabulary has ids from {min(vocabulary.ids)} to {last}, but CLIP's "
                f"tokens are 0 to {tokens - 1}; make it for this CLIP (stage 5)"
            )
        table = clip.token_embedding[list(vocabulary.ids)]
    allowed = [
        row for row, token_id in enumerate(vocabulary.ids) if token_id not in vocabulary.forbidden
    ]
    norms = {**KEYWORD_NORMS, "none": None}
    norm = choose("keyword_norm", norms, config.get("keyword_norm", "batch"))
    quantizer = choose("quantizer", QUANTIZERS, config.get("quantizer", "straight_through"))
    return KeywordPath(
        extractor=extractor,
        projection=_build(config, "keyword_projection_conf", projection, dim, table.size(1)),
        norm=norm
        and _build(config, "keyword_norm_conf", norm, table[allowed], extractor.num_slots),
        quantizer=_build(config, "quantizer_conf", quantizer),
        vocabulary=vocabulary,
        table=table,
    )


def _compatibility(config: Mapping[str, Any]) -> ReferenceCompatibility:
    return ReferenceCompatibility.from_config((config.get("model_conf") or {}).get(COMPATIBILITY))


def _build(config: Mapping[str, Any], key: str, function: Callable[..., Any], *args: Any) -> Any:
    """Calls a constructor with the options that stand under a key.

    Raises:
        ValueError: If the constructor does not know an option; the message names key and options.
    """
    options = dict(config.get(key) or {})
    check_options(key, options, options_of(function))
    if COMPATIBILITY in inspect.signature(function).parameters:
        options[COMPATIBILITY] = _compatibility(config)
    return function(*args, **options)
