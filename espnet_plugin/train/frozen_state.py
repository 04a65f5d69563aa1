"""Keeps frozen parts out of checkpoints and broadcasts: a configuration names them.

With HuBERT base and CLIP ViT-B/32 an epoch's file would otherwise hold about 1 GB of frozen
weights. Every rank would send the keyword vocabulary's table (16 to 61 MB) at every step.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel


def leave_out_of_checkpoints(
    module: nn.Module, prefixes: Sequence[str], *, kept: Collection[str] = ()
) -> None:
    """Removes parts from ``state_dict``, and accepts a ``load_state_dict`` without them.

    Both hooks also act if ``module`` is inside another one. A state dict that holds the parts is
    loaded with them.

    Args:
        module: Module that has the frozen parts.
        prefixes: Names of these parts with a final dot, e.g. ``("clip.", "speech_encoder.")``.
        kept: Names of the weights in them that are saved nevertheless.
    """

    def drop(_: nn.Module, state: dict[str, Any], prefix: str, __: dict) -> None:
        frozen = tuple(prefix + name for name in prefixes)
        for key in [key for key in state if key.startswith(frozen)]:
            if key[len(prefix) :] not in kept:
                del state[key]

    def fill_in(owner: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
        for name in prefixes:
            for key, value in owner.get_submodule(name.rstrip(".")).state_dict().items():
                if name + key not in kept:
                    state.setdefault(f"{prefix}{name}{key}", value)

    module.register_state_dict_post_hook(drop)
    module.register_load_state_dict_pre_hook(fill_in)


def leave_out_of_broadcasts(module: nn.Module) -> None:
    """Keeps DistributedDataParallel from sending the buffers that no checkpoint holds.

    Args:
        module: Module that DistributedDataParallel will wrap, after
            :func:`leave_out_of_checkpoints`. Every rank builds it from the same files.
    """
    saved = module.state_dict().keys()
    constant = [name for name, _ in module.named_buffers() if name not in saved]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, constant)
