"""The attention block: attention over query vectors and frames.

A block maps (batch, positions, dim) to a :class:`BlockOutput`. Your own needs the constructor
``(dim, *, ...)`` and ``forward`` of :class:`AttentionBlock`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from espnet_plugin.utils.self_attention import self_attention, split_heads

ACTIVATIONS = ("gelu", "relu")
CHUNK = 128  # frames whose local attention is computed at once


@dataclass(frozen=True)
class BlockOutput:
    """What an attention block makes of its positions.

    Attributes:
        output: Output that the branches read, (batch, positions, dim).
        layers: Output of each layer before any final norm, (batch, positions, dim) each.
    """

    output: Tensor
    layers: tuple[Tensor, ...]


class Block(Protocol):
    """What every attention block offers (besides being a ``torch.nn.Module``)."""

    def __call__(
        self, x: Tensor, mask: Tensor | None = None, *, num_queries: int = 0
    ) -> BlockOutput:
        """Mixes positions, see :meth:`AttentionBlock.forward`."""
        ...


def local_attention(
    attention: nn.MultiheadAttention,
    x: Tensor,
    mask: Tensor | None = None,
    *,
    reach: int,
    num_queries: int,
) -> Tensor:
    """Computes :func:`self_attention` in which a frame attends only to the frames around it.

    Time and memory grow with the number of frames, not with its square.

    Args:
        attention: The module whose weights are used, see :func:`self_attention`.
        x: Queries and frames, (batch, positions, dim).
        mask: True at positions to ignore, (batch, positions).
        reach: Number of frames on each side that a frame attends to.
        num_queries: Number of positions before the frames; they attend to all, no frame to them.

    Returns:
        (batch, positions, dim).
    """
    seen = x.new_ones(x.shape[:2], dtype=torch.bool) if mask is None else ~mask
    query, key, value = split_heads(attention, x)
    dropout = attention.dropout if attention.training else 0.0
    attend = partial(F.scaled_dot_product_attention, dropout_p=dropout)
    attended = [attend(query[:, :, :num_queries], key, value, attn_mask=seen[:, None, None])]
    positions = torch.arange(x.size(1), device=x.device)
    size = x.size(1) if torch.jit.is_tracing() else CHUNK  # a trace has no loop
    for start in range(num_queries, x.size(1), size):
        own = slice(start, start + size)
        around = slice(max(num_queries, start - reach), start + size + reach)
        distance = (positions[own, None] - positions[around]).abs()
        near = seen[:, None, None, around] & (distance <= reach) | (distance == 0)
        keys, values = key[:, :, around], value[:, :, around]
        attended.append(attend(query[:, :, own], keys, values, attn_mask=near))
    return attention.out_proj(torch.cat(attended, dim=2).transpose(1, 2).flatten(2))


class AttentionBlock(nn.Module):
    """One multi-head self-attention with a residual connection and a layer norm: norm(x +
    attention(x)).

    The block of SpeechCLIP's cascaded and of all SpeechCLIP+ architectures. It leaves the modelling
    of single frames to the speech encoder. For small encoders ``feed_forward_dim`` adds a network
    for that in front.

    Args:
        dim: Size of a position.
        num_heads: Number of attention heads.
        dropout: Dropout of the attention weights.
        feed_forward_dim: Hidden size of a network before the attention, see :class:`FeedForward`.
            With None there is no such network, as in the paper.
        feed_forward_width: Odd number of positions that this network sees; with 1 only its own.
        reach: Number of frames on each side that a frame attends to. With None it attends to all
            positions, as in the paper.
        layer_norm_eps: Small number that layer norms add to the variance.

    Raises:
        ValueError: If ``reach`` is not positive.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int = 1,
        dropout: float = 0.1,
        feed_forward_dim: int | None = None,
        feed_forward_width: int = 1,
        reach: int | None = None,
        layer_norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if reach is not None and reach < 1:
            raise ValueError(f"attention_conf.reach must be at least 1 frame, got {reach}")
        self.reach = reach
        self.feed_forward = (
            FeedForward(dim, feed_forward_dim, dropout, layer_norm_eps, width=feed_forward_width)
            if feed_forward_dim
            else None
        )
        self.attention = nn.MultiheadAttention(dim, num_heads, dropout=dropout, batch_first=True)
        self.norm = nn.LayerNorm(dim, eps=layer_norm_eps)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, *, num_queries: int = 0
    ) -> BlockOutput:
        """Mixes positions.

        Args:
            x: Queries and frames, (batch, positions, dim).
            mask: True at positions to ignore, (batch, positions).
            num_queries: Number of positions before the frames.
        """
        if self.feed_forward is not None:
            x = self.feed_forward(x, mask)
        if self.reach is None:
            attended = self_attention(self.attention, x, mask)
        else:
            attended = local_attention(
                self.attention, x, mask, reach=self.reach, num_queries=num_queries
            )
        output = self.norm(x + attended)
        return BlockOutput(output, (output,))


class FeedForward(nn.Module):
    r"""Network with a residual connection over each position, and over neighbours if ``width`` > 1.

    .. math:: \mathrm{norm}(x_t + W_2 \, \mathrm{gelu}(W_1 (x_t + c_t)))

    :math:`c` convolves each channel over ``width`` positions: the separable convolution and
    inverted bottleneck of ConvNeXt (arXiv 2201.03545). Queries in front of the frames are
    neighbours of the first ones.
    """

    def __init__(
        self, dim: int, hidden_dim: int, dropout: float, layer_norm_eps: float, *, width: int = 1
    ) -> None:
        super().__init__()
        if width % 2 == 0:
            raise ValueError(f"feed_forward_width must be odd, got {width}")
        self.layers = nn.Sequential(
            nn.Linear(dim, hidden_dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden_dim, dim)
        )
        self.norm = nn.LayerNorm(dim, eps=layer_norm_eps)
        # Two-dimensional, with channels last: several times faster on a CPU than one-dimensional.
        self.neighbours = (
            nn.Conv2d(dim, dim, (width, 1), padding=(width // 2, 0), groups=dim)
            if width > 1
            else None
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Maps (batch, positions, dim) to the same; ``mask`` is true at positions to ignore."""
        inner = x
        if self.neighbours is not None:
            visible = x if mask is None else x.masked_fill(mask[:, :, None], 0.0)
            channels = visible.transpose(1, 2)[:, :, :, None]  # (batch, dim, positions, 1)
            inner = x + self.neighbours(channels)[:, :, :, 0].transpose(1, 2)
        return self.norm(x + self.layers(inner))


class EncoderLayer(nn.TransformerEncoderLayer):
    """PyTorch's layer with :func:`self_attention`: the same parameters and the same result."""

    def forward(  # type: ignore[override]  # only TransformerBlock calls it
        self, x: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Mixes positions; the arguments are those of :func:`self_attention`."""
        if self.norm_first:
            x = x + self.dropout1(self_attention(self.self_attn, self.norm1(x), mask))
            return x + self._ff_block(self.norm2(x))
        x = self.norm1(x + self.dropout1(self_attention(self.self_attn, x, mask)))
        return self.norm2(x + self._ff_block(x))


class TransformerBlock(nn.Module):
    """A transformer encoder with a final layer norm: the block of the parallel architecture.

    Args:
        dim: Size of a position.
        num_layers: Number of encoder layers.
        num_heads: Number of attention heads.
        feed_forward_dim: Hidden size of each layer's feed-forward network.
        dropout: Probability of all dropouts in a layer.
        norm_first: Normalise before each sub-layer instead of after it.
        activation: Activation of the feed-forward networks, ``"gelu"`` or ``"relu"``.
        layer_norm_eps: Small number that each layer's norms add to the variance; the final norm
            adds 1e-5, as in the original.

    Raises:
        ValueError: If the activation is unknown.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_layers: int = 1,
        num_heads: int = 8,
        feed_forward_dim: int = 3072,
        dropout: float = 0.1,
        norm_first: bool = False,
        activation: str = "gelu",
        layer_norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}"
            )
        self.layers = nn.ModuleList(
            EncoderLayer(
                dim,
                num_heads,
                feed_forward_dim,
                dropout,
                activation=activation,
                layer_norm_eps=layer_norm_eps,
                batch_first=True,
                norm_first=norm_first,
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, *, num_queries: int = 0
    ) -> BlockOutput:
        """Mixes positions; the arguments are those of :meth:`AttentionBlock.forward`."""
        outputs = []
        for layer in self.layers:
            x = layer(x, mask)
            outputs.append(x)
        return BlockOutput(self.norm(x), tuple(outputs))
