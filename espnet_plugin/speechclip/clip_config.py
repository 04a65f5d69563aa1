"""Which CLIP is meant: open_clip's named models and JSON files, and their pretrained weights."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet_plugin.speechclip.hub import from_cache_or_hub

logger = logging.getLogger(__name__)

RANDOM = "random"
OPENAI_SUFFIX = ".pt"  # of all files that OpenAI released
# A tower that nobody asked for is built at this size and thrown away.
_SMALL_VISION = {"image_size": 32, "patch_size": 32, "width": 64, "layers": 1}
_SMALL_TEXT = {"context_length": 4, "vocab_size": 8, "width": 64, "heads": 1, "layers": 1}
# What the tokenizers of open_clip themselves read; other options would reach transformers.
_TOKENIZER_OPTIONS = frozenset(
    ("additional_special_tokens", "clean", "language", "reduction_mask", "strip_sep_token")
)
_WEIGHTS_OF_HUB = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)


@dataclass(frozen=True)
class ClipConfig:
    """A CLIP architecture.

    Attributes:
        name: What the user wrote.
        model: Options of open_clip's model class.
        preprocess: Options of its image preprocessing (mean, std, interpolation, resize_mode).
        is_named: One of open_clip's own names, so that tags mean something.
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
        FileNotFoundError: If ``model`` looks like a file and is none.
        ValueError: If the name is unknown or the file is no configuration.
    """
    if model.endswith(".json") or os.sep in model and Path(model).exists():
        return _read_json(Path(model))
    import open_clip

    name = model.replace("/", "-")  # OpenAI writes ViT-B/32
    if name not in open_clip.list_models():
        raise ValueError(
            f"clip_conf.model: open_clip has no model {model!r}. "
            "python -c 'import open_clip; print(open_clip.list_models())' lists its names; "
            "otherwise give a JSON file in open_clip's configuration format"
        )
    return ClipConfig(name, open_clip.get_model_config(name))


def _read_json(path: Path) -> ClipConfig:
    if not path.is_file():
        raise FileNotFoundError(f"clip_conf.model: there is no file {path}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"clip_conf.model: {path} is no JSON file: {error}") from error
    content = content if isinstance(content, dict) else {}
    model = content.get("model_cfg", content)
    model = model if isinstance(model, dict) else {}
    missing = [key for key in ("vision_cfg", "text_cfg") if not isinstance(model.get(key), dict)]
    missing += [] if model.get("embed_dim") else ["embed_dim"]
    if missing:
        raise ValueError(
            f"clip_conf.model: {path} is no open_clip configuration, it lacks {', '.join(missing)}"
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
    """What a JSON file has other libraries fetch by its name, in words; open_clip's own models are
    known to name nothing harmful."""
    if config.is_named:
        return
    text, vision = config.model["text_cfg"], config.model["vision_cfg"]
    for key in ("hf_tokenizer_name", "hf_model_name"):
        if text.get(key):
            yield f"text_cfg.{key} {text[key]!r}"
    timm_name = str(vision.get("timm_model_name") or "")
    if ":" in timm_name or "/" in timm_name:  # not one of timm's own
        yield f"vision_cfg.timm_model_name {timm_name!r}"


def find_weights(
    config: ClipConfig, pretrained: str, *, cache_dir: str | Path | None = None
) -> Path:
    """Finds, or else downloads, pretrained weights.

    Args:
        config: The architecture.
        pretrained: open_clip's tag or a local file.
        cache_dir: Where downloads lie; None: the libraries' defaults.

    Raises:
        FileNotFoundError: If the weights are neither here nor can be downloaded.
        ValueError: If the tag is unknown, or its activation is not the configuration's.
    """
    path = Path(pretrained)
    if path.is_file():
        if looks_like_openai_file(path):
            check_openai_activation(config, path)
        return path
    if os.sep in pretrained or path.suffix in (".pt", ".pth", ".bin", ".safetensors"):
        raise FileNotFoundError(f"clip_conf.pretrained: there is no file {pretrained}")
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(config.name) if config.is_named else []
    if pretrained not in tags:
        known = f"its tags are {', '.join(tags)}" if tags else "it has none"
        raise ValueError(
            f"clip_conf.pretrained: {pretrained!r} is neither a file nor a tag of {config.name} "
            f"({known})"
        )
    tag = open_clip.get_pretrained_cfg(config.name, pretrained)
    if bool(tag.get("quick_gelu", False)) != config.quick_gelu:
        raise ValueError(_activation_message(config, f"the weights {pretrained!r}"))
    return _download(config, pretrained, tag, cache_dir)


def looks_like_openai_file(path: Path) -> bool:
    """Whether a file is named like OpenAI's released weights or lies in their cached hub copy."""
    hub_parts = [part for part in path.resolve().parts if part.startswith("models--")]
    if any("openai" in part.lower() for part in (path.name, *hub_parts)):
        return True
    return path.suffix == OPENAI_SUFFIX and path.name in _openai_names()


def _openai_names() -> set[str]:
    import open_clip

    return {
        os.path.basename(open_clip.get_pretrained_url(model, "openai"))
        for model in open_clip.list_openai_models()
    }


def check_openai_activation(config: ClipConfig, path: Path) -> None:
    """Refuses weights that are OpenAI's for a model without QuickGELU."""
    if not config.quick_gelu:
        raise ValueError(_activation_message(config, f"{path}, which is OpenAI's,"))


def _activation_message(config: ClipConfig, weights: str) -> str:
    if config.quick_gelu:
        model = config.name.removesuffix("-quickgelu")
        return (
            f"{weights} were trained with GELU, but {config.name} uses QuickGELU: the embeddings "
            f"would be wrong. Set clip_conf.model to {model}"
        )
    remedy = (
        f"Set clip_conf.model to {config.name}-quickgelu"
        if config.is_named
        else f'Put "quick_gelu": true into {config.name}'
    )
    return (
        f"{weights} needs QuickGELU, but {config.name} uses GELU: the embeddings would be wrong. "
        f"{remedy}"
    )


def _download(
    config: ClipConfig, name: str, tag: dict[str, Any], cache_dir: str | Path | None
) -> Path:
    from open_clip.pretrained import download_pretrained

    source = tag.get("hf_hub", "").rstrip("/") or tag.get("url", "")

    def load(*, local_files_only: bool = False) -> Path:
        if local_files_only:
            return _cached_file(tag, cache_dir)
        logger.info("downloading the CLIP weights %s of %s from %s", name, config.name, source)
        return Path(download_pretrained(tag, cache_dir=cache_dir and str(cache_dir)))

    return from_cache_or_hub(
        load,
        missing=f"CLIP weights {name!r} of {config.name}: no {source}",
        cache=cache_dir,
        remedy=f"Fetch {_WEIGHTS_OF_HUB[0]} from there on a machine with a network and set "
        "clip_conf.pretrained (recipe option --clip_pretrained) to the local file",
    )


def _cached_file(tag: dict[str, Any], cache_dir: str | Path | None) -> Path:
    """A copy that is already here; open_clip itself would ask the network first."""
    from huggingface_hub import try_to_load_from_cache

    repository, filename = os.path.split(tag.get("hf_hub", ""))
    if repository:
        for candidate in (filename,) if filename else _WEIGHTS_OF_HUB:
            found = try_to_load_from_cache(repository, candidate, cache_dir=cache_dir)
            if isinstance(found, str):
                return Path(found)
    if tag.get("url"):
        directory = Path(cache_dir) if cache_dir else Path("~/.cache/clip").expanduser()
        path = directory / os.path.basename(tag["url"])
        if path.is_file():
            return path
    raise FileNotFoundError(tag)
