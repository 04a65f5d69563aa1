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
    model_conf: {parallel: true, compatibility: {}}

Each ``*_conf`` holds keyword arguments of the class that the docstring of the same name describes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from espnet_plugin.speechclip.attention import ATTENTIONS
from espnet_plugin.speechclip.clip import FrozenCLIP
from espnet_plugin.speechclip.compatibility import ReferenceCompatibility
from espnet_plugin.speechclip.keyword_extractor import KEYWORD_EXTRACTORS
from espnet_plugin.speechclip.keyword_norm import KeywordBatchNorm
from espnet_plugin.speechclip.model import KeywordPath, SpeechCLIP
from espnet_plugin.speechclip.projection import projection
from espnet_plugin.speechclip.quantizer import QUANTIZERS
from espnet_plugin.speechclip.speech_encoder import FrozenSpeechEncoder, LayerWeighting
from espnet_plugin.speechclip.vocabulary import resolve_vocabulary

NO_EXTRACTOR = (None, "none")
KEYWORD_NORMS = ("batch", "none")


def build_speechclip(
    config: Mapping[str, Any],
    *,
    speech_encoder: FrozenSpeechEncoder | None = None,
    clip: FrozenCLIP | None = None,
    token_table: Tensor | None = None,
) -> SpeechCLIP:
    """Builds an untrained model.

    Args:
        config: As described at the top of this module.
        speech_encoder: Use this encoder instead of building one.
        clip: Use this CLIP instead of building one.
        token_table: Embeddings of the vocabulary's tokens, (V, token_dim); None: taken from CLIP,
            which needs its text tower for that.

    Raises:
        ValueError: If the configuration names something unknown; the message says what is known.
    """
    model_conf = dict(config.get("model_conf") or {})
    compatibility = ReferenceCompatibility.from_config(model_conf.get("compatibility"))
    if speech_encoder is None:
        speech_encoder = _call(
            "speech_encoder_conf",
            FrozenSpeechEncoder,
            config.get("speech_encoder", "huggingface"),
            **_conf(config, "speech_encoder_conf"),
        )
    if clip is None:
        clip = _call("clip_conf", FrozenCLIP, **_conf(config, "clip_conf"))
    dim = speech_encoder.dim

    return SpeechCLIP(
        speech_encoder=speech_encoder,
        layer_weighting=_call(
            "layer_weighting_conf",
            LayerWeighting,
            speech_encoder.num_layers,
            **_conf(config, "layer_weighting_conf"),
        ),
        attention=_call(
            "attention_conf",
            _choose("attention", ATTENTIONS, config.get("attention", "attention")),
            dim,
            **_conf(config, "attention_conf"),
        ),
        clip=clip,
        dim=dim,
        parallel_projection=_call(
            "parallel_projection_conf",
            projection,
            dim,
            clip.embedding_dim,
            **_conf(config, "parallel_projection_conf"),
        )
        if model_conf.get("parallel", True)
        else None,
        keyword_path=_build_keyword_path(config, dim, clip, compatibility, token_table),
        compatibility=compatibility,
    )


def _build_keyword_path(
    config: Mapping[str, Any],
    dim: int,
    clip: FrozenCLIP,
    compatibility: ReferenceCompatibility,
    table: Tensor | None,
) -> KeywordPath | None:
    name = config.get("keyword_extractor", "cif")
    if name in NO_EXTRACTOR:
        return None
    extractor = _call(
        "keyword_extractor_conf",
        _choose("keyword_extractor", KEYWORD_EXTRACTORS, name),
        dim,
        compatibility=compatibility,
        **_conf(config, "keyword_extractor_conf"),
    )
    vocabulary = resolve_vocabulary(
        config.get("keyword_vocabulary"), special_ids=(clip.sot_id, clip.eot_id)
    )
    if table is None:
        table = clip.token_embedding[list(vocabulary.ids)]
    token_dim = table.size(1)
    allowed = [
        row for row, token_id in enumerate(vocabulary.ids) if token_id not in vocabulary.forbidden
    ]
    norm_name = config.get("keyword_norm", "batch")
    if norm_name not in KEYWORD_NORMS:
        raise ValueError(
            f"keyword_norm: {norm_name!r} is not known; choose from {', '.join(KEYWORD_NORMS)}"
        )
    return KeywordPath(
        extractor=extractor,
        projection=_call(
            "keyword_projection_conf",
            projection,
            dim,
            token_dim,
            **_conf(config, "keyword_projection_conf"),
        ),
        norm=_call(
            "keyword_norm_conf",
            _build_keyword_norm,
            table[allowed],
            extractor.num_slots,
            compatibility=compatibility,
            **_conf(config, "keyword_norm_conf"),
        )
        if norm_name == "batch"
        else None,
        quantizer=_call(
            "quantizer_conf",
            _choose("quantizer", QUANTIZERS, config.get("quantizer", "straight_through")),
            **_conf(config, "quantizer_conf"),
        ),
        vocabulary=vocabulary,
        table=table,
    )


def _build_keyword_norm(
    table: Tensor,
    slots: int | None,
    /,
    *,
    scale: float = 1.0,
    per_slot: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    learnable: bool = True,
    compatibility: ReferenceCompatibility,
) -> KeywordBatchNorm:
    """The keyword norm, started at a table's statistics.

    Args:
        table: Embeddings of the tokens that may be chosen, (tokens, token_dim).
        slots: Keywords of every utterance, if that number is fixed.
        scale: Factor of the table's standard deviation.
        per_slot: Statistics for each of a fixed number of keywords; False: one set for all.
        momentum: Share of the newest batch in the running statistics.
        eps: Added to the variance.
        learnable: Train weight and bias.
        compatibility: Defects of the original to reproduce.
    """
    norm = KeywordBatchNorm(
        table.size(1),
        num_slots=slots if per_slot else None,
        momentum=momentum,
        eps=eps,
        learnable=learnable,
        compatibility=compatibility,
    )
    norm.initialise(table, scale=scale)
    return norm


def _conf(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    return dict(config.get(key) or {})


def _choose(key: str, classes: Mapping[str, type], name: str) -> type:
    if name not in classes:
        raise ValueError(f"{key}: {name!r} is not known; choose from {', '.join(sorted(classes))}")
    return classes[name]


def check_options(key: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuses options that nobody would read.

    Args:
        key: Where in the configuration they stand.
        given: Names of the options.
        known: Names that have a meaning there.

    Raises:
        ValueError: If there is an unknown one.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        names = f"{', '.join(unknown)}; known: {', '.join(known)}"
        raise ValueError(f"{key} has unknown option(s) {names}")


def _call(key: str, function: Callable[..., Any], *args: Any, **conf: Any) -> Any:
    """Calls a constructor; an unknown option becomes an error that names the configuration key."""
    parameters = inspect.signature(function).parameters.values()
    own = {"self", "compatibility"}  # not the configuration's to give
    known = [p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY and p.name not in own]
    check_options(key, conf.keys() - own, known)
    return function(*args, **conf)
