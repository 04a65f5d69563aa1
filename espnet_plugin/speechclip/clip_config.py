"""Which CLIP is meant: open_clip's named models and JSON files, tokenizer and transforms."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# An unwanted tower is built at this size and thrown away.
_SMALL_VISION = {"image_size": 32, "patch_size": 32, "width": 64, "layers": 1}
_SMALL_TEXT = {"context_length": 4, "vocab_size": 8, "width": 64, "heads": 1, "layers": 1}
# Options of other text towers and tokenizers, which open_clip would fetch by their names.
_FOREIGN_TEXT = ("hf_tokenizer_name", "hf_model_name", "tokenizer_kwargs")
NEEDED_TEXT_TOWER = (
    "Only CLIP's own text tower and tokenizer can read keywords: use a model such as "
    "ViT-B-32-quickgelu"
)
# Ids of start and end in CLIP's own byte pair encoding.
SOT_ID, EOT_ID = 49406, 49407


@dataclass(frozen=True)
class ClipConfig:
    """A CLIP architecture.

    Attributes:
        name: As the user wrote it.
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
        ValueError: If the name is unknown, the file is not a configuration, or the text tower or
            tokenizer is not CLIP's own.
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
    return _with_own_text_tower(ClipConfig(name, open_clip.get_model_config(name)))


def _with_own_text_tower(config: ClipConfig) -> ClipConfig:
    foreign = [f"text_cfg.{key}" for key in _FOREIGN_TEXT if config.model["text_cfg"].get(key)]
    if foreign:
        raise ValueError(
            f"clip_conf.model: {config.name} names {', '.join(foreign)}. {NEEDED_TEXT_TOWER}"
        )
    return config


def _read_json(path: Path) -> ClipConfig:
    if not path.is_file():
        raise FileNotFoundError(f"clip_conf.model: there is no file {path}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"clip_conf.model: {path} is not a JSON file: {error}") from error
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
    timm_name = str(model["vision_cfg"].get("timm_model_name") or "")
    if ":" in timm_name or "/" in timm_name:  # not one of timm's own: it would be downloaded
        raise ValueError(f"clip_conf.model: {path} names vision_cfg.timm_model_name {timm_name!r}")
    return _with_own_text_tower(ClipConfig(str(path), model, preprocess, is_named=False))


def load_bpe(model: str) -> Any:
    """CLIP's tokenizer, after a look whether a model uses it.

    Args:
        model: open_clip name or JSON file.

    Raises:
        FileNotFoundError, ValueError: See :func:`read_clip_config`.
    """
    from open_clip.tokenizer import SimpleTokenizer

    read_clip_config(model)
    return SimpleTokenizer()


def image_transform(config: ClipConfig, pretrained: str | None) -> Any:
    """The transform that resizes, crops and normalises an image to (3, H, W).

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
