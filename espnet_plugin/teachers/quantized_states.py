r"""Hidden states in eight bits.

A hidden state is :math:`h_{tld} = m_{ld} + s_{ld}\, r_{tl}\, c_{tld}` with codes c of -127 to 127.
Mean and deviation (m, s) of each dimension of each layer are from a minute of speech. The scale r
is each frame's and layer's own. A few dimensions of a trained encoder are many times larger than
the others. Without m and s they would set the scale and leave the others a handful of codes.
Without r, a frame unlike those of m and s would be clipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from espnet_plugin.utils.padding import padding_mask

LARGEST_CODE = 127
LEAST_DEVIATION = 0.1  # of a layer's median one


@dataclass(frozen=True)
class QuantizedStates:
    """Frames in eight bits.

    Attributes:
        codes: Codes c, int8, (frames, layers + 1, dim).
        scale: Scales r, float16, (frames, layers + 1); not finite where a state is not.
    """

    codes: Tensor
    scale: Tensor


def state_dimensions(frames: Tensor) -> Tensor:
    """Mean and deviation of each dimension of each layer, (2, layers + 1, dim), over frames that
    are (frames, layers + 1, dim)."""
    deviation, mean = torch.std_mean(frames, dim=0, correction=0)  # (layers + 1, dim)
    # a dimension that hardly varies here may vary elsewhere
    least = LEAST_DEVIATION * deviation.median(dim=-1, keepdim=True).values
    deviation = torch.maximum(deviation, least)
    return torch.stack([mean, torch.where(deviation > 0, deviation, 1.0)])


def quantize_states(frames: Tensor, dimensions: Tensor) -> QuantizedStates:
    """Turns hidden states into codes.

    Args:
        frames: Hidden states, (frames, layers + 1, dim).
        dimensions: Means and deviations that :func:`state_dimensions` gave, (2, layers + 1, dim).
    """
    mean, deviation = dimensions
    frames = (frames - mean) / deviation
    # Rounded before it is used: its rounding adds no error. Rounded up: no code is clipped.
    scale = (frames.abs().amax(dim=-1) / LARGEST_CODE * (1 + 2**-10)).half()
    codes = (frames / scale.float().clamp(min=1e-30)[..., None]).round_()
    codes = codes.clamp_(-LARGEST_CODE, LARGEST_CODE).nan_to_num_().to(torch.int8)
    return QuantizedStates(codes, scale)


def dequantize_states(codes: Tensor, scale: Tensor, dimensions: Tensor, lengths: Tensor) -> Tensor:
    """Turns the codes of a padded batch back into hidden states.

    Args:
        codes: Codes c, (batch, frames, layers + 1, dim), with anything at padding.
        scale: Scales r, (batch, frames, layers + 1).
        dimensions: Means m and deviations s, (batch, 2, layers + 1, dim).
        lengths: Number of frames, (batch,).

    Returns:
        float32 (batch, layers + 1, frames, dim), 0 at padded frames.
    """
    batch, frames, layers, dim = codes.shape
    valid = ~padding_mask(lengths, frames)
    scale = scale[:, :frames].float() * valid[..., None]
    mean, deviation = dimensions.float().unbind(1)  # (batch, layers + 1, dim)
    states = torch.empty(batch, layers, frames, dim, device=codes.device)
    for layer in range(layers):  # one by one, without a second copy of all
        state = states[:, layer]  # (batch, frames, dim)
        state.copy_(codes[:, :, layer])
        state.mul_(scale[:, :, layer, None]).mul_(deviation[:, None, layer])
        state.addcmul_(mean[:, None, layer], valid[..., None].float())
    return states
