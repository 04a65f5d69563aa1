"""Finds and loads a transformers speech encoder, or raises one clear error."""

from __future__ import annotations

import contextlib
import json
import logging
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from espnet_plugin.teachers.backends.hubert import read_hubert
from espnet_plugin.teachers.hub import CONFIG_JSON, first_line, from_cache_or_hub, is_remote_name
from espnet_plugin.teachers.whisper_files import ENCODER_NAMES

logger = logging.getLogger(__name__)

PREPROCESSOR_FILE = "preprocessor_config.json"
# What each word of speech_encoder reads. Data2vec and others are left out: their position
# convolutions would let padding in.
MODEL_TYPES = {
    "huggingface": ("hubert", "wav2vec2", "wavlm", "unispeech", "unispeech-sat"),
    "whisper": ("whisper",),
    "w2v_bert": ("wav2vec2-bert",),
}
# Options of the configurations that are dropouts, but for those after activations.
DROPOUTS = "feat_proj_dropout hidden_dropout attention_dropout conformer_conv_dropout dropout"
# Parameters that only pre-training and augmentation use.
UNUSED_PARAMETERS = ("masked_spec_embed",)


def load_encoder(
    model: str,
    *,
    word: str = "huggingface",
    cache_dir: str | Path | None = None,
    random_weights: bool = False,
    dropout: float | None = None,
) -> nn.Module:
    """Loads a speech encoder in evaluation mode, without layer drop and masking.

    Args:
        model: Hub name or local directory.
        word: Key of ``MODEL_TYPES`` for the kind of model that is wanted.
        cache_dir: Folder of the hub's cache, by default the library's.
        random_weights: Whether to read only ``config.json`` and draw random weights.
        dropout: Probability of the dropouts, as :class:`HuggingFaceBackend` describes it.

    Raises:
        FileNotFoundError: If files are missing or cannot be downloaded.
        ValueError: If the model has another architecture.
    """
    if word == "huggingface" and not random_weights:
        hubert = read_hubert(model, dropout=dropout)
        if hubert is not None:
            return hubert
    config = _configuration(model, word, cache_dir, dropout)
    if random_weights:
        logger.warning("%s: the speech encoder has RANDOM weights", model)
        return _random(config, word).float().eval()
    load = partial(
        _from_pretrained(word), config=config, output_loading_info=True, trust_remote_code=False
    )
    wanted = "model.safetensors or pytorch_model.bin"
    encoder, info = _load(load, model, cache_dir, wanted=wanted)
    missing = [
        key for key in info["missing_keys"] if key.rsplit(".", 1)[-1] not in UNUSED_PARAMETERS
    ]
    if missing:
        raise ValueError(
            f"{model}: the weights lack parameters of the speech encoder: {len(missing)}, "
            f"{', '.join(sorted(missing)[:3])} ...: they do not belong to this config.json"
        )
    return encoder.float().eval()  # some are stored in half precision


def _random(config: Any, word: str) -> nn.Module:
    if word == "whisper":
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        return WhisperEncoder(config)
    from transformers import AutoModel

    return AutoModel.from_config(config, trust_remote_code=False)


def _from_pretrained(word: str) -> Callable[..., Any]:
    """The library's function that loads this kind of encoder; of Whisper it reads no decoder."""
    if word == "whisper":
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        return partial(WhisperEncoder.from_pretrained, key_mapping={ENCODER_NAMES: ""})
    from transformers import AutoModel

    return AutoModel.from_pretrained


def _configuration(
    model: str, word: str, cache_dir: str | Path | None, dropout: float | None
) -> Any:
    """The library's configuration of a model, for use without augmentation."""
    from transformers import AutoConfig

    _check_config(model, word, cache_dir)
    load = partial(AutoConfig.from_pretrained, trust_remote_code=False)
    config = _load(load, model, cache_dir, wanted=CONFIG_JSON)
    config._attn_implementation = None  # a file may name code that is downloaded and run
    config.update({"layerdrop": 0.0, "encoder_layerdrop": 0.0, "apply_spec_augment": False})
    if dropout is not None:
        for name in DROPOUTS.split():
            setattr(config, name, dropout)
        config.activation_dropout = 0.0
    return config


def wants_normalized_waveforms(
    model: str, config: Any, *, cache_dir: str | Path | None = None
) -> bool:
    """Whether the model's ``preprocessor_config.json`` asks for normalised waveforms.

    Without that file, models with layer norms in all convolutions (the large ones) get them, others
    do not, as they were trained.
    """
    options = _preprocessor_options(model, cache_dir)
    if "do_normalize" in options:
        return bool(options["do_normalize"])
    normalize = config.feat_extract_norm == "layer"
    logger.warning(
        "%s has no do_normalize in preprocessor_config.json: assuming normalize_waveform: %s "
        "(speech_encoder_conf.normalize_waveform changes it)",
        model,
        str(normalize).lower(),
    )
    return normalize


def _preprocessor_options(model: str, cache_dir: str | Path | None) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):  # the library says what is wrong with it
        options = json.loads((Path(model) / PREPROCESSOR_FILE).read_text(encoding="utf-8"))
        if isinstance(options, dict):
            return options
    from transformers import FeatureExtractionMixin

    with contextlib.suppress(FileNotFoundError):
        return _load(
            FeatureExtractionMixin.get_feature_extractor_dict,
            model,
            cache_dir,
            wanted=PREPROCESSOR_FILE,
        )[0]
    return {}


def _check_config(model: str, word: str, cache_dir: str | Path | None) -> None:
    """Refuses other models before the library asks whether to run their code."""
    from transformers import PretrainedConfig

    options, _ = _load(PretrainedConfig.get_config_dict, model, cache_dir, wanted=CONFIG_JSON)
    kind = options.get("model_type")
    if kind not in MODEL_TYPES[word]:
        words = [other for other, kinds in MODEL_TYPES.items() if kind in kinds]
        remedy = f"Set speech_encoder: {words[0]}" if words else "Try speech_encoder: s3prl"
        raise ValueError(
            f"{model} is a {kind!r} model; speech_encoder: {word} knows "
            f"{', '.join(MODEL_TYPES[word])}. {remedy}"
        )
    if options.get("quantization_config"):
        raise ValueError(f"{model} is quantized, which is not supported; take the original weights")
    if options.get("conv_pos_batch_norm"):
        raise ValueError(
            f"{model} has a batch norm before its position convolution (conv_pos_batch_norm), "
            "which would let padding into the hidden states: not supported"
        )


def _load(
    load: Callable[..., Any], model: str, cache_dir: str | Path | None, *, wanted: str
) -> Any:
    """Calls a function of the library that takes a model's name or directory."""
    load = _quietly(load)
    options = {} if cache_dir is None else {"cache_dir": str(cache_dir)}
    if Path(model).is_dir():
        try:
            return load(model, **options)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"Speech encoder directory {model}: cannot read {wanted} in it "
                f"({first_line(error)}). Give what transformers' save_pretrained wrote, or set "
                "speech_encoder_conf.random_weights: true for a dry run"
            ) from error
    if not is_remote_name(model):
        raise FileNotFoundError(
            f"Speech encoder {model}: no such directory (seen from {Path.cwd()}); it must hold "
            "config.json and the weights"
        )
    return from_cache_or_hub(
        partial(load, model, **options),
        missing=f"Speech encoder {model}: no {wanted}",
        cache=cache_dir,
        remedy=f"Run 'hf download {model}' where there is a network and copy the cache, or set "
        "speech_encoder_conf.model (recipe option --speech_upstream) to a local directory",
    )


def _quietly(load: Callable[..., Any]) -> Callable[..., Any]:
    """The library's function without its progress bar for weights on this disk, and without its
    table of weights that are not used, such as a decoder's. Damaged or hostile weights become a
    ValueError, without advice to load them unsafely."""
    from safetensors import SafetensorError
    from transformers.utils import logging as library

    def call(name: str, **options: Any) -> Any:
        was_shown, verbosity = library.is_progress_bar_enabled(), library.get_verbosity()
        library.set_verbosity_error()
        if options.get("local_files_only") or Path(name).is_dir():
            library.disable_progress_bar()
        try:
            return load(name, **options)
        except (pickle.UnpicklingError, EOFError, SafetensorError) as error:
            raise ValueError("its weights are damaged, or hold more than tensors") from error
        finally:
            library.set_verbosity(verbosity)
            if was_shown:
                library.enable_progress_bar()

    return call
