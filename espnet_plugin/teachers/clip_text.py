"""CLIP's text tower, for real tokens and for soft ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from espnet_plugin.utils.padding import padding_mask
from espnet_plugin.utils.self_attention import self_attention


class SoftTokensUnsupportedError(ValueError):
    """The text tower of this CLIP does not read a causal sequence at its end token."""


class QuickGELU(nn.Module):
    """OpenAI's approximation of GELU, x * sigmoid(1.702 x), with a third of the memory for its
    gradient that this form takes."""

    def forward(self, x: Tensor) -> Tensor:
        """Applies the activation to a tensor of any shape."""
        return F.silu(1.702 * x) / 1.702


class CausalTextTower(nn.Module):
    """OpenAI's text tower: a causal transformer over [SOT, tokens, EOT], read at EOT.

    What follows EOT cannot change what is read there, so sequences are cut at the longest one.

    Args:
        tower: open_clip's ``TextTransformer``, or a whole ``CLIP``, whose text tower is spread
            over the model. Only its text modules are kept.
        sot_id: Id of the start token.
        eot_id: Id of the end token.
    """

    attn_mask: Tensor
    token_embedding: nn.Embedding

    def __init__(self, tower: Any, *, sot_id: int, eot_id: int) -> None:
        super().__init__()
        self.sot_id = sot_id
        self.eot_id = eot_id
        self.context_length = int(tower.context_length)
        self.transformer = tower.transformer
        for block in self.transformer.resblocks:
            # by name, since open_clip is imported only where a model is built
            if type(block.mlp.gelu).__name__ == "QuickGELU":
                block.mlp.gelu = QuickGELU()
        self.token_embedding = tower.token_embedding
        self.positional_embedding = tower.positional_embedding
        self.ln_final = tower.ln_final
        self.text_projection = tower.text_projection
        self.register_buffer("attn_mask", tower.attn_mask, persistent=False)

    def encode_tokens(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Encodes token ids without SOT and EOT; what does not fit is cut off.

        Returns:
            (batch, E), not normalised.
        """
        room = self.context_length - 2
        rows = [[self.sot_id, *ids[:room], self.eot_id] for ids in tokens]
        width = max(len(row) for row in rows)
        device = self.positional_embedding.device
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
        ends = torch.tensor([len(row) - 1 for row in rows], device=device)
        return self._read(self.token_embedding(ids), ends)  # (batch, width, dim) → (batch, E)

    def encode_soft_tokens(
        self, tokens: Tensor, lengths: Tensor, *, kept: Tensor | None = None
    ) -> Tensor:
        """Encodes token embeddings put between SOT and EOT, read at position 1 + length.

        A slot that is kept with probability 0 is as if it were not there: no position attends to
        it, and those after it move up. In between, attention weights are multiplied by the
        probability, and a position is the expected number of those before it, its embedding
        interpolated.

        Args:
            tokens: Token embeddings, (batch, slots, dim); slots from ``lengths[i]`` on are ignored.
            lengths: Number of slots that count, (batch,).
            kept: Probability that a slot is part of the text, (batch, slots); by default all are.

        Returns:
            (batch, E), not normalised.

        Raises:
            ValueError: If slots + SOT + EOT do not fit into the position table.
            SoftTokensUnsupportedError: If slots may be left out and the blocks are not plain ones.
        """
        batch, slots, dim = tokens.shape
        if slots + 2 > self.context_length:
            raise ValueError(
                f"{slots} keywords with SOT and EOT do not fit into CLIP's "
                f"{self.context_length} text positions: at most {self.context_length - 2} keywords"
            )
        table = self.token_embedding.weight
        ends = lengths + 1
        unused = padding_mask(lengths, slots).unsqueeze(-1)  # (batch, slots, 1)
        # Padding may hold anything, infinities included: it must not meet the sum below.
        tokens = tokens.masked_fill(unused, 0.0)
        start = table[self.sot_id].to(tokens.dtype).expand(batch, 1, dim)
        sequence = torch.cat([start, tokens, tokens.new_zeros(batch, 1, dim)], dim=1)
        positions = torch.arange(slots + 2, device=tokens.device)
        is_end = (positions == ends.unsqueeze(1)).unsqueeze(-1)  # (batch, slots + 2, 1)
        sequence = torch.where(is_end, table[self.eot_id].to(tokens.dtype), sequence)
        if kept is None:
            return self._read(sequence, ends)
        # SOT, slots, and one more: EOT where there is no padding before it
        present = F.pad(kept.masked_fill(unused[..., 0], 0.0), (1, 1), value=1.0)
        return self._read(sequence, ends, present.masked_fill(is_end[..., 0], 1.0))

    def _positions(self, places: Tensor) -> Tensor:
        """Position embeddings at places between whole numbers too, (batch, positions, dim)."""
        table = self.positional_embedding
        below = places.floor().clamp(max=len(table) - 2)  # (batch, positions)
        rows = below.long()
        return torch.lerp(table[rows], table[rows + 1], (places - below)[..., None].to(table.dtype))

    def _transform(self, hidden: Tensor, presence: Tensor | None) -> Tensor:
        """Runs open_clip's transformer on (batch, positions, dim). With its own forward, torch
        would multiply frozen weights one position at a time."""
        blocks: Any = self.transformer.resblocks
        if not all(_is_plain(block) for block in blocks):
            if presence is not None:
                raise SoftTokensUnsupportedError(
                    "model_conf.blank: this CLIP's text tower has blocks of an unknown kind; use "
                    "another clip_conf.model, or set model_conf.blank=false"
                )
            length = hidden.shape[1]
            return self.transformer(hidden, attn_mask=self.attn_mask[:length, :length])
        for block in blocks:
            attended = self_attention(
                block.attn, block.ln_1(hidden), causal=True, presence=presence
            )
            hidden = hidden + block.ls_1(attended)
            hidden = hidden + block.ls_2(block.mlp(block.ln_2(hidden)))
        return hidden

    def _read(self, sequence: Tensor, ends: Tensor, presence: Tensor | None = None) -> Tensor:
        """Transforms embeddings (batch, positions, dim) and reads (batch, E) at ``ends`` (batch,);
        ``presence`` (batch, positions) is how much each position counts."""
        length = sequence.shape[1]
        dtype = self.transformer.get_cast_dtype()
        positions = self.positional_embedding[:length]
        if presence is not None:
            positions = self._positions(presence.cumsum(dim=1) - presence)
        hidden = sequence.to(dtype) + positions.to(dtype)
        hidden = self._transform(hidden, presence)
        rows = torch.arange(len(ends), device=hidden.device)
        hidden = self.ln_final(hidden[rows, ends])  # (batch, dim)
        if self.text_projection is None:
            return hidden
        if isinstance(self.text_projection, nn.Linear):
            return self.text_projection(hidden)
        return hidden @ self.text_projection


def _is_plain(block: nn.Module) -> bool:
    """Whether a block of open_clip's is attention and a network, each behind its layer norm."""
    parts = {"ln_1", "attn", "ls_1", "ln_2", "mlp", "ls_2"}
    children = dict(block.named_children())
    return children.keys() == parts and isinstance(children["attn"], nn.MultiheadAttention)


def is_causal_text_tower(tower: nn.Module, *, eot_id: int) -> bool:
    """Whether ``CausalTextTower`` computes what open_clip's ``TextTransformer`` or ``CLIP`` does.

    So the tower must be causal, have no class token, and be read at the end token, which its table
    has. The highest id marks the end for open_clip, so the end token must be the last one.
    """
    if getattr(tower, "attn_mask", None) is None or getattr(tower, "cls_emb", None) is not None:
        return False
    if not hasattr(tower, "positional_embedding"):
        return False
    table = getattr(tower, "token_embedding", None)
    if table is None or table.num_embeddings != eot_id + 1:
        return False
    pooling = getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", None)
    if pooling == "eos":
        return eot_id == getattr(tower, "text_eos_id", getattr(tower, "eos_id", None))
    return pooling == "argmax"


def normalize(embeddings: Tensor) -> Tensor:
    """L2-normalised embeddings in float32."""
    return F.normalize(embeddings.float(), dim=-1)
