"""Self-attention by a module's own weights, in the layout that is fast for frozen ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST_PRESENCE = 1e-6  # its logarithm has a gradient


def self_attention(
    attention: nn.MultiheadAttention,
    x: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    presence: Tensor | None = None,
) -> Tensor:
    """Computes ``attention(x, x, x, key_padding_mask=mask)`` without its weights.

    The module's own forward transposes its input, which makes torch multiply frozen weights one
    utterance at a time: seven times slower on a CPU.

    Args:
        attention: PyTorch's attention module, with ``batch_first`` and biases.
        x: Vectors of the positions, (batch, positions, dim).
        mask: True at positions to ignore, (batch, positions).
        causal: Whether positions ignore later ones; there may be no mask then.
        presence: How much each position counts among those that are attended to, from 0 to 1,
            (batch, positions). It needs ``causal``, and there may be no mask.

    Returns:
        (batch, positions, dim).
    """
    bias = None if mask is None else ~mask[:, None, None]
    if presence is not None:
        later = torch.ones(x.size(1), x.size(1), dtype=torch.bool, device=x.device).triu(1)
        share = presence.clamp(min=LEAST_PRESENCE).log()[:, None, None]
        bias = share.masked_fill(later, -torch.inf).to(x.dtype)  # (batch, 1, positions, positions)
    attended = F.scaled_dot_product_attention(
        *split_heads(attention, x),
        attn_mask=bias,
        dropout_p=attention.dropout if attention.training else 0.0,
        is_causal=causal and presence is None,
    )
    return attention.out_proj(attended.transpose(1, 2).flatten(2))


def split_heads(attention: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, (batch, heads, positions, head_dim) each."""
    projected = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    heads = projected.unflatten(-1, (3, attention.num_heads, attention.head_dim))
    query, key, value = heads.permute(2, 0, 3, 1, 4).unbind()
    return query, key, value
