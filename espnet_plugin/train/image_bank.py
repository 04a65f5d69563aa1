"""All pictures that the training has seen, to contrast each utterance with more than its batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from espnet_plugin.speechclip.losses import bank_loss


class ImageBank(nn.Module):
    """Keeps each picture's embedding, which is frozen: what was seen once stays exact.

    Batches fill it in the first epoch. It is in no checkpoint; a resumed training fills it anew.

    Args:
        softness: Share of the targets that goes to pictures that look alike, see :func:`bank_loss`.
        temperature: Of those targets.
    """

    ids: Tensor
    embeddings: Tensor

    def __init__(self, *, softness: float = 0.0, temperature: float = 0.05) -> None:
        super().__init__()
        if not 0 <= softness <= 1 or temperature <= 0:
            raise ValueError(
                "the bank's softness must be in [0, 1] and its temperature positive, "
                f"got {softness} and {temperature}"
            )
        self.softness = softness
        self.temperature = temperature
        self.register_buffer("ids", torch.zeros(0, dtype=torch.long), persistent=False)
        self.register_buffer("embeddings", torch.zeros(0, 0), persistent=False)

    @torch.no_grad()
    def add(self, ids: Tensor, images: Tensor) -> None:
        """Adds the pictures that are new.

        Args:
            ids: Same number = same picture, (batch,).
            images: L2-normalised embeddings, (batch, dim).
        """
        new = ~torch.isin(ids, self.ids)
        if not new.any():
            return
        old = self.embeddings if len(self.ids) else images[:0]
        self.ids, first = _unique(torch.cat([self.ids, ids[new]]))
        self.embeddings = torch.cat([old, images[new]])[first]

    def forward(self, speech: Tensor, ids: Tensor, scale: Tensor) -> Tensor:
        """:func:`bank_loss` over the pictures seen so far, those of the batch among them.

        Args:
            speech: L2-normalised embeddings, (batch, dim).
            ids: Pictures of the utterances, all of them added before, (batch,).
            scale: Factor of the similarities.
        """
        targets = torch.searchsorted(self.ids, ids)  # (batch,)
        return bank_loss(
            speech,
            targets,
            self.embeddings,
            scale,
            softness=self.softness,
            temperature=self.temperature,
        )


def _unique(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Sorted distinct ids, and where each occurs first."""
    order = ids.argsort(stable=True)
    ordered = ids[order]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first], order[first]
