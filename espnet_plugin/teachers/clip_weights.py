"""CLIP weights: found or downloaded, read without executing anything, loaded into towers."""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from espnet_plugin.teachers.clip_config import ClipConfig
from espnet_plugin.teachers.hub import from_cache_or_hub
from espnet_plugin.teachers.weights import (
    check_fit,
    read_pickle,
    read_safetensors,
)
from espnet_plugin.utils.constants import NUM_TOKENS

logger = logging.getLogger(__name__)

RANDOM = "random"
OPENAI_SUFFIX = ".pt"  # of all files that OpenAI released
_WEIGHTS_OF_HUB = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
# Numbers beside the weights by which OpenAI's files are known.
OPENAI_KEYS = ("input_resolution", "context_length", "vocab_size")
_NOT_IN_TOWERS = ("logit_scale", "logit_bias")
DDP = "module."  # what distributed training puts before every name
# After the name of a table: ids of the only rows that are stored; the others are zero.
ROWS = ".rows"
_TOKEN_EMBEDDING = ("token_embedding.weight", "text.token_embedding.weight")


def find_weights(
    config: ClipConfig, pretrained: str, *, cache_dir: str | Path | None = None
) -> Path:
    """Finds, or else downloads, pretrained weights.

    Args:
        config: The model's configuration.
        pretrained: open_clip's tag or a local file.
        cache_dir: Folder of downloads, by default the libraries'.

    Raises:
        FileNotFoundError: If the weights can neither be found nor downloaded.
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
    """Whether a file is named like OpenAI's released weights or is from their cached hub copy."""
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
    """A copy that is on this disk; open_clip itself would ask the network first."""
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
        if path.is_file() and not is_torchscript(path):
            return path
    raise FileNotFoundError(tag)


def read_clip_weights(
    path: Path, *, wanted: Callable[[str], bool] = lambda key: True
) -> tuple[dict[str, Tensor], bool]:
    """Reads a state dict of open_clip's or OpenAI's CLIP.

    Args:
        path: A .safetensors file, a pickled state dict (read weights-only), or a training
            checkpoint of open_clip that holds one.
        wanted: Says which keys to keep; others are not read if the format allows it.

    Returns:
        The tensors, and whether they are OpenAI's by the numbers beside them.

    Raises:
        ValueError: If the file is none of these. TorchScript, in which OpenAI published CLIP, is a
            program.
    """
    if path.suffix == ".safetensors":
        weights = read_safetensors(
            path, lambda key: wanted(key.removeprefix(DDP).removesuffix(ROWS))
        )
        weights = {key.removeprefix(DDP): value for key, value in weights.items()}
        return _with_all_rows(weights, path), False
    if is_torchscript(path):
        raise ValueError(
            f"{path}: a TorchScript archive, which holds a program; for OpenAI's CLIP, use the tag "
            "openai instead: clip_conf.pretrained: openai fetches the same weights without one"
        )
    weights = _state_dict_in(read_pickle(path), path)
    is_openai = all(key in weights for key in OPENAI_KEYS)
    return {
        key: value for key, value in weights.items() if key not in OPENAI_KEYS and wanted(key)
    }, is_openai


def _with_all_rows(weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Weights whose tables of token embeddings have a row for each of CLIP's tokens."""
    for key in [key for key in weights if key.endswith(ROWS)]:
        ids, name = weights.pop(key), key.removesuffix(ROWS)
        try:
            table = weights[name].new_zeros(NUM_TOKENS, *weights[name].shape[1:])
            weights[name] = table.index_copy(0, ids, weights[name])
        except (KeyError, IndexError, RuntimeError) as error:
            raise ValueError(f"{path}: {key} does not fit a table {name}: {error}") from error
    return weights


def read_token_embedding(path: Path) -> Tensor | None:
    """The table of token embeddings of CLIP weights, float32, (V, token_dim).

    Args:
        path: A file that :func:`read_clip_weights` reads, which also lists the errors.

    Returns:
        The table; None if it is not stored under CLIP's own name.
    """
    weights, _ = read_clip_weights(path, wanted=_TOKEN_EMBEDDING.__contains__)
    return next((table.float() for table in weights.values()), None)


def _state_dict_in(content: object, path: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]  # a training checkpoint of open_clip
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{path}: holds no state dict")
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"{path}: holds no state dict")
    return {key.removeprefix(DDP): value for key, value in tensors.items()}


def is_image_key(key: str) -> bool:
    """Whether a weight belongs to the image tower."""
    return key.startswith("visual.")


def load_towers(
    model: nn.Module, weights: Mapping[str, Tensor], path: Path, *, image: bool, text: bool
) -> None:
    """Loads weights strictly into the towers that are wanted.

    Args:
        model: open_clip's CLIP or CustomTextCLIP.
        weights: Weights that ``read_clip_weights`` read.
        path: File of the weights, which messages name.
        image: Whether to load the image tower.
        text: Whether to load the text tower.

    Raises:
        ValueError: If a weight is missing, of another shape, or not used.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    given = convert_state_dict(model, dict(weights))
    if hasattr(model, "text") and "positional_embedding" in given:
        given = convert_to_custom_text_state_dict(given)

    def is_wanted(key: str) -> bool:
        return key not in _NOT_IN_TOWERS and (image if is_image_key(key) else text)

    # A buffer of old HF text towers that newer transformers versions do not have.
    given.pop("text.transformer.embeddings.position_ids", None)
    own = {key: value for key, value in model.state_dict().items() if is_wanted(key)}
    given = {key: value for key, value in given.items() if is_wanted(key)}
    check_fit(given, own, f"{path}: not the weights of this CLIP configuration")
    with torch.no_grad():
        for key, value in own.items():
            value.copy_(given[key])


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.split("/")[1:2] == ["code"] for name in archive.namelist())
