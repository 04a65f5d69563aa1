"""Reading CLIP weights from files without executing anything in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from espnet_plugin.speechclip.torchscript import is_torchscript, read_torchscript_tensors
from espnet_plugin.speechclip.weights import check_fit, read_pickle, read_safetensors

# Numbers beside the weights by which OpenAI's files are known.
OPENAI_KEYS = ("input_resolution", "context_length", "vocab_size")
_NOT_IN_STATE_DICTS = ("attn_mask",)  # but in TorchScript files
_NOT_IN_TOWERS = ("logit_scale", "logit_bias")
_TOKEN_EMBEDDING = ("token_embedding.weight", "text.token_embedding.weight")


def read_clip_weights(
    path: Path, *, wanted: Callable[[str], bool] = lambda key: True
) -> tuple[dict[str, Tensor], bool]:
    """Reads a state dict of open_clip's or OpenAI's CLIP.

    Args:
        path: .safetensors, a pickled state dict (read weights-only), a training checkpoint of
            open_clip that holds one, or OpenAI's TorchScript file.
        wanted: Which keys to keep; the others are not even read where the format allows it.

    Returns:
        The tensors, and whether the file is in OpenAI's own format.

    Raises:
        ValueError: If the file is none of these, naming what to do.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path, wanted), False
    if is_torchscript(path):
        content = {
            key: value
            for key, value in read_torchscript_tensors(path).items()
            if key.rpartition(".")[2] not in _NOT_IN_STATE_DICTS
        }
    else:
        content = read_pickle(path, path)
    weights = _state_dict_in(content, path)
    is_openai = all(key in weights for key in OPENAI_KEYS)
    return {
        key: value for key, value in weights.items() if key not in OPENAI_KEYS and wanted(key)
    }, is_openai


def read_token_embedding(path: Path) -> Tensor | None:
    """The table of token embeddings of CLIP weights, float32, (V, token_dim).

    Args:
        path: As for :func:`read_clip_weights`, which also says what is raised.

    Returns:
        The table; None where it is not stored under CLIP's own name.
    """
    weights, _ = read_clip_weights(path, wanted=_is_token_embedding)
    return next((table.float() for table in weights.values()), None)


def _is_token_embedding(key: str) -> bool:
    return key.removeprefix("module.") in _TOKEN_EMBEDDING


def _state_dict_in(content: object, path: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]  # a training checkpoint of open_clip
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{path}: holds no state dict")
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"{path}: holds no state dict")
    return {key.removeprefix("module."): value for key, value in tensors.items()}


def is_image_key(key: str) -> bool:
    """Whether a weight belongs to the image tower (with or without DDP's prefix)."""
    return key.removeprefix("module.").startswith("visual.")


def load_towers(
    model: nn.Module, weights: Mapping[str, Tensor], path: Path, *, image: bool, text: bool
) -> None:
    """Loads weights strictly into the towers that are wanted.

    Args:
        model: open_clip's CLIP or CustomTextCLIP.
        weights: As ``read_clip_weights`` gives them.
        path: For messages.
        image: Load the image tower.
        text: Load the text tower.

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
