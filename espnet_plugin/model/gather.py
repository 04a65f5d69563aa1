"""Collecting features and sums from all ranks, with gradients."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Whether this process trains together with others."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def gather_features(features: Tensor) -> Tensor:
    """Concatenates the rows of all ranks, in rank order.

    Gradients flow back to the rank of each row, summed over the ranks' losses. Ranks may hold
    different numbers of rows.

    Args:
        features: Rows of this rank, (rows, ...); integers (image ids) have no gradient.

    Returns:
        (rows of all ranks, ...); ``features`` itself in a single process.
    """
    if not is_distributed():
        return features
    from torch.distributed.nn.functional import all_gather

    sizes = _gather_sizes(features)
    missing = features.new_zeros(max(sizes) - len(features), *features.shape[1:])
    parts = all_gather(torch.cat([features, missing]))
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def own_rows(features: Tensor) -> slice:
    """Position of this rank's rows in the result of :func:`gather_features`."""
    if not is_distributed():
        return slice(0, len(features))
    begin = sum(_gather_sizes(features)[: dist.get_rank()])
    return slice(begin, begin + len(features))


def sum_over_ranks(value: Tensor) -> Tensor:
    """Sum of a tensor over all ranks, on each of them; its gradient is the sum over the ranks.

    Every rank computes the same loss from it. Averaging parameters' gradients over ranks, as
    DistributedDataParallel does, then gives those of one process over the joined batch.

    Args:
        value: This rank's tensor, of the same shape on every rank.
    """
    if not is_distributed():
        return value
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(value)


def mean_over_ranks(mean: Tensor, count: Tensor) -> Tensor:
    """Mean over all ranks, given each rank's mean over ``count`` items.

    Gradients are as with :func:`sum_over_ranks`.
    """
    if not is_distributed():
        return mean  # also where the count is zero
    count = count.to(mean.dtype)
    return sum_over_ranks(count * mean) / sum_over_ranks(count)


def _gather_sizes(features: Tensor) -> list[int]:
    size = torch.tensor([features.size(0)], device=features.device)
    sizes = [torch.empty_like(size) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, size)
    return [int(value) for value in sizes]
