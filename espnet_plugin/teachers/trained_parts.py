"""Parts of a speech encoder that are trained with the model: last layers, or LoRA's matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn


def trains_encoder(conf: Mapping[str, Any] | None) -> bool:
    """Whether a ``speech_encoder_conf`` trains parts of the encoder, which then are the model's."""
    return any((conf or {}).get(option) for option in ("train_layers", "lora"))


def last_layers(backend: Any, number: int) -> list[nn.Module]:
    """The last transformer layers of an encoder, with gradients.

    Raises:
        ValueError: If ``number`` is not positive, or ``backend.layers`` has fewer.
    """
    layers = getattr(backend, "layers", ())
    if not 0 < number <= len(layers):
        raise ValueError(
            f"speech_encoder_conf.train_layers: got {number}, but {type(backend).__name__} has "
            f"{len(layers)} in its attribute layers"
        )
    return [layer.requires_grad_(True) for layer in layers[len(layers) - number :]]


def add_lora(
    backend: Any, *, r: int = 8, lora_alpha: float = 16, lora_dropout: float = 0.0
) -> list[nn.Module]:
    """Adds LoRA's matrices (arXiv 2106.09685), and returns the linear layers that have them.

    They change nothing before they are trained.

    Args:
        backend: Encoder whose ``lora_modules`` are the last parts of the names of linear layers.
        r: Rank of the matrices.
        lora_alpha: Number such that the matrices' product is scaled by ``lora_alpha / r``.
        lora_dropout: Dropout of the matrices' input.

    Raises:
        ImportError: If peft is not installed.
        ValueError: If the encoder names no layers.
    """
    names = list(getattr(backend, "lora_modules", ()))
    if not names:
        raise ValueError(
            f"speech_encoder_conf.lora: {type(backend).__name__} has no attribute lora_modules, "
            "the names of the linear layers that get LoRA's matrices"
        )
    try:
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.lora import LoraLayer
    except ImportError as error:
        raise ImportError(
            f"speech_encoder_conf.lora needs peft ({error}): pip install peft (extra: lora)"
        ) from error
    config: Any = LoraConfig  # peft's types are narrower than what it takes
    layer: Any = LoraLayer
    options = {"r": r, "lora_alpha": lora_alpha, "lora_dropout": lora_dropout}
    inject_adapter_in_model(config(target_modules=names, **options), backend)
    return [module for module in backend.modules() if isinstance(module, layer)]
