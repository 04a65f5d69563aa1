"""Building a model from a configuration.

A configuration is plain data: the keys of an ESPnet ``config.yaml`` that concern the model.

    speech_encoder: huggingface | whisper | w2v_bert | s3prl
    speech_encoder_conf: {model: facebook/hubert-base-ls960}
    layer_weighting_conf: {normalize: false}
    clip_conf: {model: ViT-B-32-quickgelu, pretrained: openai}
    keyword_vocabulary: path of a vocabulary file, or a list of token ids, or {ids: [...],
        forbidden: [...]}
    attention: attention | transformer
    attention_conf: {num_heads: 1}
    parallel_projection_conf: {hidden_dims: []}
    keyword_extractor: cif | cls | none
    keyword_extractor_conf: {frames_per_keyword: 20}
    keyword_projection_conf: {hidden_dims: []}
    keyword_norm: batch | none
    keyword_norm_conf: {scale: 1.0, per_slot: true}
    quantizer: straight_through
    quantizer_conf: {temperature: 0.1}
    loss: masked_contrastive
    loss_conf: {initial_temperature: 0.07}
    model_conf: {parallel: true, blank: false, align_spans: false, compatibility: {}}
    converted_from: name of the original implementation's checkpoint, if it is one; builds nothing
    spoken_languages: [sw], as the training's utt2lang has them; builds nothing

You can name your own class as ``module:Class`` in place of a word. Each ``*_conf`` holds keyword
arguments of the class; its docstring describes them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from espnet_plugin.model.attention import AttentionBlock, TransformerBlock
from espnet_plugin.model.keyword_branch import KeywordBranch
from espnet_plugin.model.keyword_extractor import CifKeywordExtractor, ClsKeywordExtractor
from espnet_plugin.model.keyword_norm import KeywordBatchNorm
from espnet_plugin.model.layer_weighting import LayerWeighting
from espnet_plugin.model.losses import MaskedContrastiveLoss
from espnet_plugin.model.model import SpeechCLIPModel
from espnet_plugin.model.objectives import Objectives
from espnet_plugin.model.quantizer import TokenQuantizer
from espnet_plugin.model.vocabulary import resolve_vocabulary
from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
from espnet_plugin.teachers.backends.log_mel import Wav2Vec2BertBackend, WhisperBackend
from espnet_plugin.teachers.backends.s3prl import S3prlBackend
from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder
from espnet_plugin.utils.compatibility import ReferenceCompatibility
from espnet_plugin.utils.options import (
    COMPATIBILITY,
    check_options,
    find_class,
    options_of,
)

# The words that a configuration has for our classes; the first of a row is the default.
COMPONENTS: dict[str, dict[str, Callable[..., Any] | None]] = {
    "speech_encoder": {
        "huggingface": HuggingFaceBackend,
        "whisper": WhisperBackend,
        "w2v_bert": Wav2Vec2BertBackend,
        "s3prl": S3prlBackend,
    },
    "attention": {"attention": AttentionBlock, "transformer": TransformerBlock},
    "keyword_extractor": {"cif": CifKeywordExtractor, "cls": ClsKeywordExtractor, "none": None},
    "keyword_norm": {"batch": KeywordBatchNorm, "none": None},
    "quantizer": {"straight_through": TokenQuantizer},
    "loss": {"masked_contrastive": MaskedContrastiveLoss},
}

# What model_conf sets of the model, with the defaults.
BRANCH_OPTIONS, NETWORK_OPTIONS = options_of(KeywordBranch), options_of(SpeechCLIPModel)
MODEL_OPTIONS = {**BRANCH_OPTIONS, **NETWORK_OPTIONS}
# Options of training alone that are gone: a model that was trained with them opens as before.
RETIRED_OBJECTIVES = {"cross_lingual_weight", "diversity_temperature", "repeat_weight"}
RETIRED_OBJECTIVES |= {"repulsion_weight", "time_mask_frames", "bank_softness"}


def build_speechclip(
    config: Mapping[str, Any],
    *,
    speech_encoder: FrozenSpeechEncoder | None = None,
    clip: FrozenCLIP | None = None,
    token_table: Tensor | None = None,
) -> SpeechCLIPModel:
    """Builds an untrained model.

    Args:
        config: Configuration, as the top of this module describes it.
        speech_encoder: Encoder to use instead of building one.
        clip: CLIP to use instead of building one.
        token_table: Embeddings of the vocabulary's tokens, (V, token_dim); by default CLIP's.

    Raises:
        ValueError: If the configuration names something unknown; the message says what is known.
    """
    _check_model_conf(_model_conf(config))
    if speech_encoder is None:
        speech_encoder = build_speech_encoder(config)
    if clip is None:
        clip = construct(config, "clip_conf", FrozenCLIP)
    dim = speech_encoder.dim
    # Random numbers are drawn in this order: a seed gives the weights that it always gave.
    layer_weighting = construct(
        config, "layer_weighting_conf", LayerWeighting, speech_encoder.num_layers
    )
    attention = _build_attention(config, dim)
    parallel_query = parallel_projection = keyword_parts = keyword_branch = None
    if _model_conf(config).get("parallel", True):
        parallel_projection = construct(
            config, "parallel_projection_conf", projection, dim, clip.embedding_dim
        )
    if has_keywords(config):
        keyword_parts = _build_keyword_parts(config, dim, clip, token_table)
    if parallel_projection is not None:
        parallel_query = torch.randn(1, dim)
    if keyword_parts is not None:
        keyword_branch = KeywordBranch(*keyword_parts, **_chosen(config, BRANCH_OPTIONS))
    return SpeechCLIPModel(
        speech_encoder,
        layer_weighting,
        attention,
        clip,
        parallel_query,
        parallel_projection,
        keyword_branch,
        **_chosen(config, NETWORK_OPTIONS),
        compatibility=_compatibility(config),
    )


def projection(
    dim: int, output_dim: int, *, hidden_dims: Sequence[int] = (), dropout: float = 0.0
) -> nn.Sequential:
    """Maps the attention's dimension to CLIP's by a linear layer, or several with ReLU between.

    Args:
        dim: Input size.
        output_dim: Output size.
        hidden_dims: Sizes of the hidden layers; none makes it one linear layer.
        dropout: Dropout after each ReLU.
    """
    sizes = [dim, *hidden_dims, output_dim]
    layers: list[nn.Module] = [nn.Linear(sizes[0], sizes[1])]
    for size, following in zip(sizes[1:-1], sizes[2:], strict=True):
        layers += [nn.ReLU(), nn.Dropout(dropout), nn.Linear(size, following)]
    return nn.Sequential(*layers)


def component(config: Mapping[str, Any], key: str) -> Callable[..., Any] | None:
    """The class that a configuration names under a key of ``COMPONENTS``, or None for ``none``.

    Raises:
        ValueError: If there is no such class.
    """
    known = COMPONENTS[key]
    name = config.get(key, next(iter(known)))
    return find_class(key, "none" if name is None else name, known)


def build_component(config: Mapping[str, Any], key: str, *args: Any) -> Any:
    """Builds what a configuration names under a key of ``COMPONENTS``, or gives None for ``none``.

    Args:
        config: The class's options are those of ``<key>_conf``.
        key: One of the keys of ``COMPONENTS``.
        *args: Arguments that the class takes beside its options.

    Raises:
        ValueError: If there is no such class or option; the message says what there is.
    """
    function = component(config, key)
    return function and construct(config, f"{key}_conf", function, *args)


def default_options(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    """What ``<key>_conf`` may hold for the class that a configuration names, with the defaults."""
    function = component(config, key)
    options = options_of(function) if function else {}
    return {**options, **options_of(FrozenSpeechEncoder)} if key == "speech_encoder" else options


def build_speech_encoder(config: Mapping[str, Any]) -> FrozenSpeechEncoder:
    """Builds the frozen encoder; ``speech_encoder_conf`` has its options and its backend's.

    Raises:
        ValueError: If there is no such backend or option, or an option has no effect.
    """
    known = default_options(config, "speech_encoder")
    conf = {
        name: value
        for name, value in (config.get("speech_encoder_conf") or {}).items()
        if name in known or (value is not None and value is not False)
    }
    source = config.get("speech_encoder", "huggingface")
    check_options(f"speech_encoder_conf ({source})", conf, known)
    acts = conf.get("dropout_in_training") or conf.get("train_layers")
    if conf.get("dropout") is not None and not acts:
        raise ValueError("speech_encoder_conf.dropout needs dropout_in_training or train_layers")
    own = {name: conf.pop(name) for name in options_of(FrozenSpeechEncoder) if name in conf}
    backend = build_component({**config, "speech_encoder_conf": conf}, "speech_encoder")
    return FrozenSpeechEncoder(backend, **own)


def has_keywords(config: Mapping[str, Any]) -> bool:
    """Whether a configuration's model extracts keywords."""
    return config.get("keyword_extractor", "cif") not in (None, "none")


def _build_attention(config: Mapping[str, Any], dim: int) -> nn.Module:
    reach = (config.get("attention_conf") or {}).get("reach")
    if reach is not None and component(config, "keyword_extractor") is ClsKeywordExtractor:
        raise ValueError("attention_conf.reach needs keyword_extractor: cif, got cls")
    return build_component(config, "attention", dim)


def _build_keyword_parts(
    config: Mapping[str, Any], dim: int, clip: FrozenCLIP, table: Tensor | None
) -> tuple[Any, ...]:
    """Extractor, projection, norm, quantizer, vocabulary and table of a cascaded branch."""
    extractor = build_component(config, "keyword_extractor", dim)
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
    norm = build_component(config, "keyword_norm", table.size(1), extractor.num_slots)
    if norm is not None:
        norm.initialise(table[allowed])
    to_tokens = construct(config, "keyword_projection_conf", projection, dim, table.size(1))
    return extractor, to_tokens, norm, build_component(config, "quantizer"), vocabulary, table


def without_idle(model_conf: Mapping[str, Any]) -> dict[str, Any]:
    """``model_conf`` without options that are gone and change nothing."""

    def idle(name: str, value: Any) -> bool:
        if name == "bank_softness":
            return value == 0.3 or not model_conf.get("bank_weight")  # 0.3 in every training now
        return not value and name in {"merge_repeats", *RETIRED_OBJECTIVES}

    return {name: value for name, value in model_conf.items() if not idle(name, value)}


def _check_model_conf(model_conf: Mapping[str, Any]) -> None:
    """Refuses options that would make the model another one if they were left out."""
    if model_conf.get("merge_repeats"):
        raise ValueError(
            "model_conf.merge_repeats: hybrid+ annealed's first form, which model_conf.blank has "
            "replaced. Commit e559eb6 is the last one that opens such a model"
        )
    known = ["parallel", COMPATIBILITY, *MODEL_OPTIONS, *options_of(Objectives)]
    check_options("model_conf", without_idle(model_conf).keys() - RETIRED_OBJECTIVES, known)


def _model_conf(config: Mapping[str, Any]) -> Mapping[str, Any]:
    return config.get("model_conf") or {}


def _chosen(config: Mapping[str, Any], options: Collection[str]) -> dict[str, Any]:
    """What ``model_conf`` sets of these options."""
    return {name: value for name, value in _model_conf(config).items() if name in options}


def _compatibility(config: Mapping[str, Any]) -> ReferenceCompatibility:
    return ReferenceCompatibility.from_config(_model_conf(config).get(COMPATIBILITY))


def construct(config: Mapping[str, Any], key: str, function: Callable[..., Any], *args: Any) -> Any:
    """Calls a constructor with the options under a key.

    Raises:
        ValueError: If the constructor does not know an option; the message names key and options.
    """
    options = dict(config.get(key) or {})
    check_options(key, options, options_of(function))
    signature = inspect.signature(function)
    if COMPATIBILITY in signature.parameters:
        options[COMPATIBILITY] = _compatibility(config)
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        raise ValueError(f"{key}: {error}") from error
    return function(*args, **options)
