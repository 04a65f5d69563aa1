"""Samples of recordings as floating point."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def float_samples(samples: Tensor) -> Tensor:
    """Samples as floating point in [-1, 1], of any shape: integers are divided by their range.

    Args:
        samples: Floating-point numbers, which stay as they are, or integers as in recordings:
            signed ones of 8, 16 or 32 bits, or unsigned ones of 8 bits with silence at 128.

    Raises:
        TypeError: If the type is another one. The range of samples in 64-bit integers is unknown.
    """
    if samples.is_floating_point():
        return samples
    if samples.dtype == torch.uint8:
        return (samples.float() - 128) / 128
    if samples.dtype in (torch.int8, torch.int16, torch.int32):
        return samples.float() / -float(torch.iinfo(samples.dtype).min)
    raise TypeError(
        f"samples are {samples.dtype}: give floating point in [-1, 1], or integers of 8, 16 or 32 "
        "bits"
    )


def float_speech(speech: np.ndarray) -> np.ndarray:
    """Samples of any shape as floating point: integers are divided by their range."""
    return float_samples(torch.from_numpy(np.ascontiguousarray(speech))).numpy()
