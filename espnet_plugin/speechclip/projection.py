"""From the block's dimension to CLIP's."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def projection(
    dim: int, output_dim: int, *, hidden_dims: Sequence[int] = (), dropout: float = 0.0
) -> nn.Sequential:
    """A linear layer, or a network of linear layers with ReLU and dropout between them.

    Args:
        dim: Input size.
        output_dim: Output size.
        hidden_dims: Sizes of the hidden layers; none makes it one linear layer.
        dropout: Dropout after each ReLU.
    """
    sizes = [dim, *hidden_dims, output_dim]
    layers: list[nn.Module] = [nn.Linear(sizes[0], sizes[1])]
    for size, following in zip(sizes[1:-1], sizes[2:], strict=True):
        layers += [nn.ReLU(), nn.Dropout(dropout), nn.Linear(size, following)]
    return nn.Sequential(*layers)
