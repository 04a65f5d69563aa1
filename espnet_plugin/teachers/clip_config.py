"""Which CLIP is meant: open_clip's named models and JSON files, their tokenizers and transforms."""

from __future__ import annotations

import os
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet_plugin.utils.small_files import read_json

# An unwanted tower is built at this size and thrown away.
_SMALL_VISION = {"image_size": 32, "patch_size": 32, "width": 64, "layers": 1}
_SMALL_TEXT = {"context_length": 4, "vocab_size": 8, "width": 64, "heads": 1, "layers": 1}
# What the tokenizers of open_clip themselves read; other options would reach transformers.
_TOKENIZER_OPTIONS = frozenset(
    ("additional_special_tokens", "clean", "language", "reduction_mask", "strip_sep_token")
)


@dataclass(frozen=True)
class ClipConfig:
    """A CLIP architecture.

    Attributes:
        name: Name or JSON file, as the user wrote it.
        model: Options of open_clip's model class.
        preprocess: Options of its image preprocessing (mean, std, interpolation, resize_mode).
        is_named: Whether it is one of open_clip's own names, which have tags.
    """

    name: str
    model: dict[str, Any]
    preprocess: dict[str, Any] = field(default_factory=dict)
    is_named: bool = True

    @property
    def quick_gelu(self) -> bool:
        """Whether the towers use the activation of OpenAI's weights."""
        return bool(self.model.get("quick_gelu", False))

    def with_towers(self, *, image: bool, text: bool) -> dict[str, Any]:
        """Options of the model class with the towers that are not wanted made tiny."""
        options = deepcopy(self.model)
        if not image:
            options["vision_cfg"] = dict(_SMALL_VISION)
        if not text:
            options["text_cfg"] = dict(_SMALL_TEXT)
        return options


def read_clip_config(model: str) -> ClipConfig:
    """Finds open_clip's configuration of a named model, or reads a JSON file in its format.

    Raises:
        FileNotFoundError: If ``model`` looks like a file that does not exist.
        ValueError: If the name is unknown or the file is not a configuration.
    """
    if model.endswith(".json") or os.sep in model and Path(model).exists():
        return _read_json(Path(model))
    import open_clip

    name = model.replace("/", "-")  # OpenAI writes ViT-B/32
    if name not in open_clip.list_models():
        raise ValueError(
            f"clip_conf.model: open_clip has no model {model!r}. List its names with "
            "python -c 'import open_clip; print(open_clip.list_models())'"
        )
    return ClipConfig(name, open_clip.get_model_config(name))


def _read_json(path: Path) -> ClipConfig:
    if not path.is_file():
        raise FileNotFoundError(f"clip_conf.model: there is no file {path}")
    content = read_json(path, name=f"clip_conf.model: {path}")
    content = content if isinstance(content, dict) else {}
    model = content.get("model_cfg", content)
    model = model if isinstance(model, dict) else {}
    missing = [key for key in ("vision_cfg", "text_cfg") if not isinstance(model.get(key), dict)]
    missing += [] if model.get("embed_dim") else ["embed_dim"]
    if missing:
        raise ValueError(
            f"clip_conf.model: {path} is not a configuration of open_clip: it lacks "
            f"{', '.join(missing)}"
        )
    preprocess = content.get("preprocess_cfg", {})
    options = model["text_cfg"].get("tokenizer_kwargs") or {}
    foreign = sorted(
        map(str, options.keys() - _TOKENIZER_OPTIONS if isinstance(options, dict) else options)
    )
    if foreign:
        raise ValueError(
            f"clip_conf.model: {path}: tokenizer_kwargs.{foreign[0]} is not taken from a file; "
            f"known: {', '.join(sorted(_TOKENIZER_OPTIONS))}"
        )
    return ClipConfig(str(path), model, preprocess, is_named=False)


def fetched_parts(config: ClipConfig) -> Iterator[str]:
    """Options of a JSON file that make other libraries download something by its name.

    open_clip's own models name nothing harmful.
    """
    if config.is_named:
        return
    text, vision = config.model["text_cfg"], config.model["vision_cfg"]
    for key in ("hf_tokenizer_name", "hf_model_name"):
        if text.get(key):
            yield f"text_cfg.{key} {text[key]!r}"
    timm_name = str(vision.get("timm_model_name") or "")
    if ":" in timm_name or "/" in timm_name:  # not one of timm's own
        yield f"vision_cfg.timm_model_name {timm_name!r}"


def has_bpe(config: ClipConfig) -> bool:
    """Whether texts are tokenised by CLIP's own byte pair encoding."""
    text = config.model["text_cfg"]
    reduces = (text.get("tokenizer_kwargs") or {}).get("reduction_mask")
    return not (text.get("hf_tokenizer_name") or text.get("hf_model_name") or reduces)


def load_tokenizer(config: ClipConfig) -> Any:
    """open_clip's tokenizer of a model; one that is not CLIP's own may need a download.

    A tokenizer that brings code is refused without asking the user.
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
        FileNotFoundError: If ``model`` looks like a file that does not exist.
        ValueError: If the model is unknown, or does not use CLIP's own byte pair encoding.
    """
    config = read_clip_config(model)
    if not has_bpe(config):
        raise ValueError(f"clip_conf.model: {model}: keywords need CLIP's own byte-pair tokenizer")
    return load_tokenizer(config)


def image_transform(config: ClipConfig, pretrained: str | None) -> Any:
    """The transform that resizes, crops and normalises an image to (3, H, W).

    Args:
        config: The model's configuration.
        pretrained: Tag or file of the weights. A tag may have seen another normalisation than
            OpenAI's. A file of a named model gets what all tags of the model have in common.
    """
    from open_clip import get_pretrained_cfg, list_pretrained_tags_by_model
    from open_clip.transform import PreprocessCfg, image_transform_v2

    tags = [get_pretrained_cfg(config.name, pretrained or "")]  # empty for local models and weights
    if not tags[0] and config.is_named:
        known = list_pretrained_tags_by_model(config.name)
        tags = [get_pretrained_cfg(config.name, tag) for tag in known] or tags
    options = dict(config.preprocess)
    for name in ("mean", "std", "interpolation", "resize_mode", "fill_color"):
        values = [tag.get(name) for tag in tags]
        if values[0] is not None and all(value == values[0] for value in values):
            options[name] = values[0]
    options["size"] = config.model["vision_cfg"].get("image_size", 224)
    return image_transform_v2(PreprocessCfg(**options), is_train=False)
