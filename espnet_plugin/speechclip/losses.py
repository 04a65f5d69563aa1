"""The contrastive objective. A loss of one's own has the ``forward`` and ``scale`` of
:class:`MaskedContrastiveLoss`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from espnet_plugin.speechclip.bounds import set_bounds

DIRECTIONS = ("both", "a_to_b", "b_to_a")


class MaskedContrastiveLoss(nn.Module):
    """Symmetric contrastive loss in which captions of the same image are no negatives of each
    other.

    With l = scale * a b^T, for each row -l_ii + log sum_j M_ij exp(l_ij), and the same over
    columns; M drops the pairs i != j that show the same image (SpeechCLIP; InfoNCE of
    CLIP, arXiv 2103.00020). Every other pair, and unless ``decoupled`` the positive pair itself,
    stays in the denominator.

    Args:
        initial_temperature: Inverse of the scale at the start.
        learnable: Train the scale (its logarithm).
        margin: Subtracted from the scaled positive similarities.
        decoupled: Leave the positive pair out of the denominator (arXiv 2110.06848).
        directions: ``"both"``, ``"a_to_b"`` (rows only) or ``"b_to_a"`` (columns only).
        max_scale: The scale never exceeds this: where it starts, what is loaded, and after each
            update, given :func:`espnet_plugin.speechclip.bounds.keep_in_bounds`.
    """

    def __init__(
        self,
        *,
        initial_temperature: float = 0.07,
        learnable: bool = True,
        margin: float = 0.0,
        decoupled: bool = False,
        directions: str = "both",
        max_scale: float = 100.0,
    ) -> None:
        super().__init__()
        if initial_temperature <= 0:
            raise ValueError(f"initial_temperature must be positive, got {initial_temperature}")
        if directions not in DIRECTIONS:
            raise ValueError(
                f"directions must be one of {', '.join(DIRECTIONS)}; got {directions!r}"
            )
        self.margin = margin
        self.directions = directions
        self.decoupled = decoupled
        log_scale = torch.tensor(math.log(min(1 / initial_temperature, max_scale)))
        if learnable:
            self.log_scale = nn.Parameter(log_scale)
            set_bounds(self, {"log_scale": (None, math.log(max_scale))})
        else:
            self.register_buffer("log_scale", log_scale, persistent=False)

    @property
    def scale(self) -> Tensor:
        """Factor of the similarities, the inverse temperature."""
        return self.log_scale.exp()

    def forward(
        self, a: Tensor, b: Tensor, ids: Tensor | None = None, *, own: slice | None = None
    ) -> Tensor:
        """Mean loss over the rows.

        A rank that gives the rows of all ranks and its ``own`` ones computes own x batch
        similarities instead of batch x batch. The mean of the ranks' losses, each weighted by its
        number of rows as ESPnet's trainer does it, is the loss of the whole batch; so are
        their gradients.

        Args:
            a: L2-normalised embeddings, (batch, dim).
            b: L2-normalised embeddings of the partners, row by row, (batch, dim).
            ids: Same id = same image, (batch,). None: all different.
            own: Rows over which the mean goes; None: all. The others are their negatives.

        Raises:
            ValueError: If the numbers of rows differ.
        """
        if a.shape != b.shape or (ids is not None and ids.shape != a.shape[:1]):
            shapes = (tuple(a.shape), tuple(b.shape), None if ids is None else tuple(ids.shape))
            raise ValueError(f"embeddings and ids do not fit together: {shapes}")
        numbers = torch.arange(len(a), device=a.device)
        own = slice(0, len(a)) if own is None else own
        diagonal = numbers[own, None] == numbers  # (own, batch)
        same = diagonal if ids is None else ids[own, None] == ids
        # A row that has no negative keeps its positive, so that its loss is zero and not minus
        # infinity.
        alone = same.all(dim=1, keepdim=True)
        left_out = same & ~(diagonal & alone) if self.decoupled else same & ~diagonal
        with torch.autocast(a.device.type, enabled=False):
            precision = torch.promote_types(a.dtype, torch.float32)
            a, b = a.to(precision), b.to(precision)
            rows = self._logits(a[own], b, diagonal)  # (own, batch)
            positive = rows.diagonal(offset=own.start)  # (own,)
            rows = rows.masked_fill(left_out, -torch.inf)
            columns = rows.T
            if len(rows) < len(a):
                columns = self._logits(b[own], a, diagonal).masked_fill(left_out, -torch.inf)
            a_to_b = (rows.logsumexp(dim=1) - positive).mean()
            b_to_a = (columns.logsumexp(dim=1) - positive).mean()
        if self.directions == "both":
            return 0.5 * (a_to_b + b_to_a)
        return a_to_b if self.directions == "a_to_b" else b_to_a

    def _logits(self, rows: Tensor, others: Tensor, diagonal: Tensor) -> Tensor:
        """Scaled similarities, the positive pairs' less the margin, (rows, others)."""
        logits = (self.scale * rows) @ others.T
        return logits - self.margin * diagonal if self.margin else logits


def bank_loss(
    speech: Tensor,
    targets: Tensor,
    bank: Tensor,
    scale: Tensor,
    *,
    softness: float = 0.0,
    temperature: float,
) -> Tensor:
    r"""Cross-entropy of each utterance over *all* pictures of the training set.

    With p the utterance's picture, v_j the pictures and a the utterance,
    -sum_j q_j log softmax_j(scale a . v_j), where q = (1 - softness) [j = p] + softness
    softmax_j(v_p . v_j / temperature): pictures that look alike share the blame. Pictures are
    frozen and stored, so these negatives are exact where a queue's (MoCo, arXiv 1911.05722) are
    stale.

    Args:
        speech: L2-normalised embeddings, (batch, dim).
        targets: Row of each utterance's picture in the bank, (batch,).
        bank: L2-normalised embeddings of the pictures, (pictures, dim).
        scale: Factor of the similarities.
        softness: Share of the soft targets.
        temperature: Of the soft targets.
    """
    with torch.autocast(speech.device.type, enabled=False):
        precision = torch.promote_types(speech.dtype, torch.float32)
        speech, bank = speech.to(precision), bank.to(precision)
        log_probabilities = (scale * speech @ bank.T).log_softmax(dim=1)  # (batch, pictures)
        loss = -log_probabilities.gather(1, targets[:, None]).mean()
        if softness:
            soft = (bank[targets] @ bank.T / temperature).softmax(dim=1)  # (batch, pictures)
            loss = (1 - softness) * loss - softness * (soft * log_probabilities).sum(dim=1).mean()
    return loss
