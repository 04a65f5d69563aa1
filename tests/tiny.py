"""Tiny random models for tests: seconds become milliseconds, and nothing is downloaded.

Every function writes the files that the real loaders read and returns their path.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CLIP_DIM = 32
HUBERT_DIM = 24
HUBERT_LAYERS = 2


def tiny_clip_config(
    directory: Path,
    *,
    quick_gelu: bool = True,
    context_length: int = 77,
    custom_text: bool = False,
    text_options: dict[str, Any] | None = None,
    name: str = "tiny_clip.json",
) -> Path:
    """Write an open_clip configuration with towers of width 32 and the real 49408-word BPE table.

    Args:
        directory: where to write it.
        quick_gelu: the activation of OpenAI's weights.
        context_length: rows of the text tower's position table, SOT and EOT included.
        custom_text: make open_clip build a CustomTextCLIP (a TextTransformer of its own).
        text_options: more keys of ``text_cfg``, e.g. ``{"pool_type": "last"}``.
        name: file name.

    Returns:
        The JSON file.
    """
    config: dict[str, Any] = {
        "embed_dim": CLIP_DIM,
        "quick_gelu": quick_gelu,
        "vision_cfg": {
            "image_size": 32,
            "layers": 2,
            "width": 32,
            "head_width": 16,
            "patch_size": 16,
        },
        "text_cfg": {
            "context_length": context_length,
            "vocab_size": 49408,
            "width": CLIP_DIM,
            "heads": 2,
            "layers": 2,
            **(text_options or {}),
        },
    }
    if custom_text:
        config["custom_text"] = True
    path = Path(directory) / name
    path.write_text(json.dumps(config, indent=2))
    return path


def tiny_clip_weights(directory: Path, config: Path, *, seed: int = 0) -> Path:
    """Write random weights for ``tiny_clip_config`` as safetensors and return the file."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        options = json.loads(config.read_text())
        custom_text = options.pop("custom_text", False)
        model = (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**options)
    path = Path(directory) / f"{config.stem}.safetensors"
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    return path


def tiny_encoder_options(*, stable: bool = False) -> dict[str, Any]:
    """Sizes that HubertConfig, Wav2Vec2Config and WavLMConfig share."""
    return {
        "hidden_size": HUBERT_DIM,
        "num_hidden_layers": HUBERT_LAYERS,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "conv_dim": (16,) * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
        "feat_extract_norm": "layer" if stable else "group",
        "do_stable_layer_norm": stable,
        "conv_bias": stable,
    }


def tiny_hubert_dir(
    directory: Path,
    *,
    stable: bool = False,
    seed: int = 0,
    do_normalize: bool | None = None,
    model_class: str = "HubertModel",
    name: str | None = None,
) -> Path:
    """Write a tiny random speech encoder as ``save_pretrained`` does and return its directory.

    Args:
        directory: parent directory.
        stable: the layout of HuBERT large (layer norm in every convolution, pre-norm layers)
            instead of base's (group norm in the first one, post-norm layers).
        seed: of the weights.
        do_normalize: written to ``preprocessor_config.json``; None = True for the large layout.
        model_class: HubertModel, Wav2Vec2Model or WavLMModel.
        name: directory name; None = made of the arguments.
    """
    import torch
    import transformers

    model_type = getattr(transformers, model_class)
    config = model_type.config_class(**tiny_encoder_options(stable=stable))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_type(config)
        with torch.no_grad():  # norms that are not the identity: a missing one shows
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(0.1 * torch.randn_like(parameter))
    if name is None:
        name = f"{model_class.lower()}_{'large' if stable else 'base'}"
    path = Path(directory) / name
    model.save_pretrained(path)
    preprocessor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": 16000,
        "padding_value": 0.0,
        "do_normalize": stable if do_normalize is None else do_normalize,
        "return_attention_mask": stable,
    }
    (path / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2))
    return path


def tiny_hybrid_plus_config(directory: Path) -> dict[str, Any]:
    """Write frozen models and return the configuration of a model of both branches with them, whose
    vocabulary has whole words and pieces."""
    clip = tiny_clip_config(directory)
    return {
        "speech_encoder": "huggingface",
        "speech_encoder_conf": {"model": str(tiny_hubert_dir(directory))},
        "clip_conf": {"model": str(clip), "pretrained": str(tiny_clip_weights(directory, clip))},
        "keyword_vocabulary": {"ids": [320, 736, 1929, 5463, *range(500, 520)]},
        "keyword_extractor": "cif",
        "keyword_extractor_conf": {"frames_per_keyword": 4, "dropout": 0.0},
        "attention_conf": {"num_heads": 2, "dropout": 0.0},
        "model_conf": {"parallel": True},
    }


def tiny_whisper_dir(directory: Path, *, positions: int = 50, seed: int = 0) -> Path:
    """Write a tiny random Whisper as ``save_pretrained`` does and return its directory.

    Args:
        directory: parent directory.
        positions: of its encoder, 20 ms each; the real ones have 1500.
        seed: of the weights.
    """
    import transformers

    config = transformers.WhisperConfig(
        vocab_size=20,
        num_mel_bins=80,
        d_model=HUBERT_DIM,
        encoder_layers=HUBERT_LAYERS,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_source_positions=positions,
        max_target_positions=8,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    return _write_random("WhisperModel", config, Path(directory) / "whisper", seed)


def tiny_w2v_bert_dir(directory: Path, *, seed: int = 0) -> Path:
    """Write a tiny random w2v-BERT 2.0 as ``save_pretrained`` does and return its directory."""
    import transformers

    config = transformers.Wav2Vec2BertConfig(
        hidden_size=HUBERT_DIM,
        num_hidden_layers=HUBERT_LAYERS,
        num_attention_heads=4,
        intermediate_size=48,
        conv_depthwise_kernel_size=5,
    )
    return _write_random("Wav2Vec2BertModel", config, Path(directory) / "w2v_bert", seed)


def _write_random(model_class: str, config: Any, path: Path, seed: int) -> Path:
    import torch
    import transformers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, model_class)(config)
        with torch.no_grad():  # norms that are not the identity: a missing one shows
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(path)
    return path
