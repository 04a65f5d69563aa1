"""Choose a torch device, and the precision that it has."""

from __future__ import annotations

import torch
from torch import Tensor


def torch_device(name: str | torch.device | None) -> str:
    """The name of a device that PyTorch can use here.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1`` and the like; by default a GPU if there is one.

    Raises:
        ValueError: If there is no such device; the message names the available ones.
    """
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device {str(name)!r}: PyTorch cannot use it here; choose from {', '.join(_devices())}"
        ) from error
    return str(name)


def widest(values: Tensor) -> Tensor:
    """The values in double precision, or in single precision on an Apple GPU."""
    return values.float() if values.device.type == "mps" else values.double()


def _devices() -> list[str]:
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    others = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *(["cuda"] if gpus else []), *gpus, *others]
