"""Trained parameters that must stay within bounds.

A clamp in the forward pass has no gradient beyond its limit: a parameter past it never comes back.
So the parameters themselves are clamped after each optimiser update, as in open_clip, and when they
are loaded.
"""

from __future__ import annotations

import torch
from torch import nn

Bounds = dict[str, tuple[float | None, float | None]]


@torch.no_grad()
def keep_in_bounds(module: nn.Module) -> None:
    """Clamps the parameters in the ``bounds`` of a module and its parts, in place.

    Args:
        module: A module whose parts may have ``bounds``: a dictionary from a parameter's name to
            its lowest and highest value, None if unbounded.
    """
    for part in module.modules():
        bounds: Bounds = getattr(part, "bounds", {})
        for name, (lowest, highest) in bounds.items():
            part.get_parameter(name).clamp_(lowest, highest)


def set_bounds(module: nn.Module, bounds: Bounds) -> None:
    """Gives a module its ``bounds``, and applies them whenever it is loaded."""
    vars(module)["bounds"] = bounds
    keep_in_bounds(module)
    module.register_load_state_dict_post_hook(lambda loaded, _: keep_in_bounds(loaded))
