"""Padded batches: masks, in which True means padding, and parts of similar length.

Up to its keywords no utterance depends on another. So a large batch can be computed in parts: each
is padded to its own longest utterance only, and what is needed for a moment takes less memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# Frames times dim of a part, padding included, unless one utterance has more. With HuBERT base,
# these are 17 utterances of 6.4 s. Twice as much takes 3 % longer on a processor, for its padding,
# and 0.3 GiB more.
PART_VALUES = 2**22


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
        features: Features, (batch, positions, dim), right-padded with anything, NaN included.
        lengths: Number of valid positions of each row, (batch,).
    """
    mask = padding_mask(lengths, features.size(1))
    return features.masked_fill(mask[:, :, None], 0.0)


def mask_spans(features: Tensor, lengths: Tensor, *, number: int, longest: int) -> Tensor:
    """Features with random spans of each row set to zero.

    These are SpecAugment's time masks (arXiv 1904.08779).

    Args:
        features: Right-padded features, (batch, positions, dim).
        lengths: Number of valid positions of each row, (batch,).
        number: Number of spans of a row, which may overlap.
        longest: Largest number of positions of a span; lengths are drawn from 1 to this. A span of
            a short row has at most ``length // (number + 1)`` positions, so some are left.
    """
    sizes = torch.randint(1, longest + 1, (len(lengths), number), device=lengths.device)
    sizes = sizes.minimum(lengths[:, None] // (number + 1))
    room = lengths[:, None] - sizes + 1
    starts = (torch.rand(sizes.shape, device=lengths.device) * room).long()[:, :, None]
    positions = torch.arange(features.size(1), device=lengths.device)
    inside = (positions >= starts) & (positions < starts + sizes[:, :, None])
    return features.masked_fill(inside.any(dim=1)[:, :, None], 0.0)


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


def split_by_length(
    lengths: Tensor, ends: Sequence[int], *, limit: int
) -> tuple[Tensor | None, list[list[int]]]:
    """Divides a batch into parts of similar length.

    Args:
        lengths: Lengths of the utterances, (batch,).
        ends: The same lengths on the host.
        limit: Limit of a part's utterances times its longest length, unless it is one utterance.

    Returns:
        The rows in the order of the parts, longest first, (batch,), None if the batch is one part
        and stays as it is; and the lengths of each part.
    """
    if len(ends) * max(ends) <= limit:
        return None, [list(ends)]
    parts: list[list[int]] = [[]]
    for end in sorted(ends, reverse=True):
        if parts[-1] and (len(parts[-1]) + 1) * parts[-1][0] > limit:
            parts.append([])
        parts[-1].append(end)
    return lengths.argsort(descending=True), parts
