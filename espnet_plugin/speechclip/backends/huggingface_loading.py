"""Finding and loading a transformers speech encoder, with one clear error when it is not there."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from torch import nn

from espnet_plugin.speechclip.hub import check_hub_reachable, first_line, is_remote_name

logger = logging.getLogger(__name__)

# Data2vec's and others' position convolutions would let padding in: they are left out.
MODEL_TYPES = ("hubert", "wav2vec2", "wavlm", "unispeech", "unispeech-sat")
# Parameters that only pre-training and augmentation use.
UNUSED_PARAMETERS = ("masked_spec_embed",)


def load_encoder(
    model: str,
    *,
    cache_dir: str | Path | None = None,
    random_weights: bool = False,
    dropout: float | None = None,
) -> nn.Module:
    """Load a speech encoder in evaluation mode, without layer drop and masking.

    Args:
        model: hub name or local directory.
        cache_dir: the hub's cache; None = the library's default.
        random_weights: read ``config.json`` only.
        dropout: probability of the dropouts before and in the layers and of their attention
            weights, with none after activations: the four of fairseq's HuBERT base.
            None = as ``config.json`` says.

    Raises:
        FileNotFoundError: if files are missing or cannot be downloaded.
        ValueError: if the model has another architecture.
    """
    from transformers import AutoModel

    config = _load_config(model, cache_dir)
    _check_config(model, config)
    config.layerdrop = 0.0
    config.apply_spec_augment = False
    if dropout is not None:
        config.feat_proj_dropout = config.hidden_dropout = config.attention_dropout = dropout
        config.activation_dropout = 0.0
    if random_weights:
        logger.warning("%s: the speech encoder has RANDOM weights", model)
        return AutoModel.from_config(config).eval()
    encoder, info = _try_local_then_hub(
        model,
        cache_dir,
        lambda **options: AutoModel.from_pretrained(
            model, config=config, output_loading_info=True, **options
        ),
        wanted="model.safetensors or pytorch_model.bin",
    )
    missing = [
        key for key in info["missing_keys"] if key.rsplit(".", 1)[-1] not in UNUSED_PARAMETERS
    ]
    if missing:
        raise ValueError(
            f"{model}: the weights lack {len(missing)} parameters of the speech encoder, "
            f"{', '.join(sorted(missing)[:3])} ...: they belong to another model than config.json"
        )
    return encoder.float().eval()  # some are stored in half precision


def model_wants_normalized_waveforms(
    model: str, config: Any, *, cache_dir: str | Path | None = None
) -> bool:
    """Whether the model's ``preprocessor_config.json`` asks for normalised waveforms.

    Without that file: yes for models with layer norms in all convolutions (the large ones), no
    for the others, as they were trained.
    """
    from transformers.utils import cached_file

    name = "preprocessor_config.json"
    path: str | Path | None = Path(model) / name
    if not Path(model).is_dir():
        try:
            path = cached_file(model, name, cache_dir=cache_dir, local_files_only=True)
        except OSError:
            try:
                check_hub_reachable()
                path = cached_file(model, name, cache_dir=cache_dir)
            except OSError:
                path = None
    if path is not None and Path(path).is_file():
        options = json.loads(Path(path).read_text(encoding="utf-8"))
        if "do_normalize" in options:
            return bool(options["do_normalize"])
    normalize = config.feat_extract_norm == "layer"
    logger.warning(
        "%s has no %s with do_normalize: assuming normalize_waveform: %s "
        "(set speech_encoder_conf.normalize_waveform if that is wrong)",
        model,
        name,
        str(normalize).lower(),
    )
    return normalize


def _load_config(model: str, cache_dir: str | Path | None) -> Any:
    from transformers import AutoConfig

    return _try_local_then_hub(
        model,
        cache_dir,
        lambda **options: AutoConfig.from_pretrained(model, **options),
        wanted="config.json",
    )


def _check_config(model: str, config: Any) -> None:
    if config.model_type not in MODEL_TYPES:
        raise ValueError(
            f"{model} is a {config.model_type!r} model; the huggingface source knows "
            f"{', '.join(MODEL_TYPES)}. Others may be available with speech_encoder: s3prl"
        )
    if getattr(config, "conv_pos_batch_norm", False):
        raise ValueError(
            f"{model} has a batch norm before its position convolution (conv_pos_batch_norm), "
            "which would let padding into the hidden states: not supported"
        )


def _try_local_then_hub(model: str, cache_dir: str | Path | None, load: Any, *, wanted: str) -> Any:
    """What is on disk is taken as it is, without asking the network whether it has changed."""
    directory = Path(model)
    options = {} if cache_dir is None else {"cache_dir": str(cache_dir)}
    if directory.is_dir():
        try:
            return load(**options)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"Speech encoder directory {model}: cannot read {wanted} in it "
                f"({first_line(error)}). It must look as transformers' save_pretrained "
                "leaves it; for a dry run without weights set "
                "speech_encoder_conf.random_weights: true"
            ) from error
    if not is_remote_name(model):
        raise FileNotFoundError(
            f"Speech encoder {model}: no such directory (seen from {Path.cwd()}); it must hold "
            "config.json and the weights"
        )
    try:
        return load(local_files_only=True, **options)
    except (OSError, ValueError):
        pass
    try:
        check_hub_reachable()
        return load(**options)
    except (OSError, ValueError) as error:
        from huggingface_hub.constants import HF_HUB_CACHE

        raise FileNotFoundError(
            f"Speech encoder {model}: {wanted} is neither in the cache "
            f"{cache_dir or HF_HUB_CACHE} nor can it be downloaded ({first_line(error)}). "
            f"Run 'hf download {model}' where there is a network and copy the cache, or set "
            "speech_encoder_conf.model (recipe option --speech_upstream) to a local directory "
            "that holds the model's files"
        ) from error
