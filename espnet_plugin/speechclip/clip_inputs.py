"""What turns texts and pictures into CLIP's inputs; it needs the configuration, not the model."""

from __future__ import annotations

from typing import Any

from espnet_plugin.speechclip.clip_config import ClipConfig, read_clip_config

# Ids of start and end in CLIP's own byte pair encoding.
SOT_ID, EOT_ID = 49406, 49407


def has_bpe(config: ClipConfig) -> bool:
    """Whether texts are tokenised by CLIP's own byte pair encoding."""
    text = config.model["text_cfg"]
    reduces = (text.get("tokenizer_kwargs") or {}).get("reduction_mask")
    return not (text.get("hf_tokenizer_name") or text.get("hf_model_name") or reduces)


def load_tokenizer(config: ClipConfig) -> Any:
    """open_clip's tokenizer of a model; one that is not CLIP's own may need a download.

    A tokenizer with code of its own is refused, and nobody is asked whether to run it.
    """
    import open_clip
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    text = config.model["text_cfg"]
    options = dict(text.get("tokenizer_kwargs") or {})
    if text.get("hf_tokenizer_name"):
        options["trust_remote_code"] = False
    if config.is_named:
        return open_clip.get_tokenizer(config.name, **options)
    length = text.get("context_length", 77)
    if text.get("hf_tokenizer_name"):
        return HFTokenizer(
            text["hf_tokenizer_name"],
            context_length=length,
            tokenizer_mode=text.get("tokenizer_mode"),
            **options,
        )
    return SimpleTokenizer(context_length=length, **options)


def load_bpe(model: str) -> Any:
    """The tokenizer of a model whose sub-words can be keywords.

    Args:
        model: open_clip name or JSON file.

    Raises:
        FileNotFoundError, ValueError: See :func:`read_clip_config`.
        ValueError: The model does not use CLIP's own byte pair encoding.
    """
    config = read_clip_config(model)
    if not has_bpe(config):
        raise ValueError(f"clip_conf.model: {model}: keywords need CLIP's own byte-pair tokenizer")
    return load_tokenizer(config)


def image_transform(config: ClipConfig, pretrained: str | None) -> Any:
    """What resizes, crops and normalises a picture to (3, H, W).

    Args:
        config: The model.
        pretrained: Its weights; those of open_clip's tags may have seen another normalisation.
    """
    from open_clip import get_pretrained_cfg
    from open_clip.transform import PreprocessCfg, image_transform_v2

    tag = get_pretrained_cfg(config.name, pretrained or "")  # empty for local models and weights
    names = ("mean", "std", "interpolation", "resize_mode", "fill_color")
    options = {**config.preprocess, **{name: tag[name] for name in names if name in tag}}
    options["size"] = config.model["vision_cfg"].get("image_size", 224)
    return image_transform_v2(PreprocessCfg(**options), is_train=False)
