"""Masks of padded batches. True means padding, everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def padding_mask(lengths: Tensor, max_length: int | None = None) -> Tensor:
    """Mask of the padded positions of a right-padded batch.

    Args:
        lengths: Number of valid positions of each row, (batch,).
        max_length: Length of the padded batch; the longest row by default.

    Returns:
        Boolean mask, True at padding, (batch, max_length).
    """
    if max_length is None:
        max_length = int(lengths.max()) if lengths.numel() else 0
    positions = torch.arange(max_length, device=lengths.device)
    return positions[None, :] >= lengths[:, None]  # (batch, max_length)


def zero_padding(features: Tensor, lengths: Tensor) -> Tensor:
    """Features with every padded position set to zero.

    Args:
        features: (batch, positions, dim), right-padded; the padding may hold anything, NaN
            included.
        lengths: Number of valid positions of each row, (batch,).
    """
    mask = padding_mask(lengths, features.size(1))
    return features.masked_fill(mask[:, :, None], 0.0)


def join_padded(batches: Sequence[Tensor]) -> Tensor:
    """Joins batches (rows, positions, ...), each padded with zeros to the most positions.

    Batches of one number per row, (rows,), are joined as they are.
    """
    if len(batches) == 1:
        return batches[0]
    if batches[0].dim() > 1:
        longest = max(batch.size(1) for batch in batches)
        others = [0, 0] * (batches[0].dim() - 2)
        batches = [F.pad(batch, (*others, 0, longest - batch.size(1))) for batch in batches]
    return torch.cat(list(batches))
