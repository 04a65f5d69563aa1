"""The contrastive objective. Your own loss needs the ``forward`` and ``scale`` of
:class:`MaskedContrastiveLoss`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from espnet_plugin.model.bounds import set_bounds

# At the start, after loading, and after each update with ``keep_in_bounds``.
LARGEST_SCALE = 100.0
DIRECTIONS = ("both", "a_to_b", "b_to_a")


class MaskedContrastiveLoss(nn.Module):
    r"""Symmetric contrastive loss without captions of the same image as negatives.

    With :math:`l = s \, a b^T`, each row gives

    .. math:: -l_{ii} + \log \sum_j M_{ij} \exp(l_{ij})

    and so does each column. :math:`M` drops the pairs :math:`i \ne j` of the same image and, if
    ``decoupled``, the positive pair. Sources: SpeechCLIP; InfoNCE of CLIP (arXiv 2103.00020).

    Args:
        initial_temperature: Inverse of the scale at the start.
        learnable: Whether to train the scale (its logarithm).
        margin: Number that is subtracted from the scaled positive similarities.
        decoupled: Whether to leave the positive pair out of the denominator (arXiv 2110.06848).
        directions: Which losses count: ``"both"``, ``"a_to_b"`` (rows) or ``"b_to_a"`` (columns).
    """

    def __init__(
        self,
        *,
        initial_temperature: float = 0.07,
        learnable: bool = True,
        margin: float = 0.0,
        decoupled: bool = False,
        directions: str = "both",
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
        log_scale = torch.tensor(math.log(min(1 / initial_temperature, LARGEST_SCALE)))
        if learnable:
            self.log_scale = nn.Parameter(log_scale)
            set_bounds(self, {"log_scale": (None, math.log(LARGEST_SCALE))})
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
        similarities instead of batch x batch. The loss of the whole batch is the mean of the ranks'
        losses weighted by their rows, as in ESPnet's trainer. The same holds for gradients.

        Args:
            a: L2-normalised embeddings, (batch, dim).
            b: L2-normalised embeddings of the partners, row by row, (batch, dim).
            ids: Id of each row's image, (batch,). With None all images are different.
            own: Rows to average over, by default all. The others are their negatives.

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
        # A row without negatives keeps its positive: its loss is zero, not minus infinity.
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
