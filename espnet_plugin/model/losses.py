"""The contrastive objective. Your own loss needs the ``forward`` and ``scale`` of
:class:`MaskedContrastiveLoss`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from espnet_plugin.model.bounds import set_bounds

# At the start, after loading, and after each update with ``keep_in_bounds``.
LARGEST_SCALE = 100.0


class MaskedContrastiveLoss(nn.Module):
    r"""Symmetric contrastive loss without captions of the same image as negatives.

    With :math:`l = s \, a b^T`, each row gives

    .. math:: -l_{ii} + \log \sum_j M_{ij} \exp(l_{ij})

    and so does each column. :math:`M` drops the pairs :math:`i \ne j` of the same image. Sources:
    SpeechCLIP; InfoNCE of CLIP (arXiv 2103.00020).

    Args:
        initial_temperature: Inverse of the scale at the start.
        learnable: Whether to train the scale (its logarithm).
        margin, decoupled, directions: Of a converted model's training by the original. Only the
            plain loss trains here, which the defaults say.

    Raises:
        ValueError: If an option asks for another loss, or for a temperature that is not positive.
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
        if margin or decoupled or directions != "both":
            raise ValueError(
                f"loss_conf: margin {margin}, decoupled {decoupled}, directions {directions} are "
                "how the original trained a converted model, which opens with them. Only the plain "
                "loss trains here: leave the three out"
            )
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
        left_out = same & ~diagonal
        with torch.autocast(a.device.type, enabled=False):
            precision = torch.promote_types(a.dtype, torch.float32)
            a, b = a.to(precision), b.to(precision)
            rows = (self.scale * a[own]) @ b.T  # (own, batch)
            positive = rows.diagonal(offset=own.start)  # (own,)
            rows = rows.masked_fill(left_out, -torch.inf)
            columns = rows.T
            if len(rows) < len(a):
                columns = ((self.scale * b[own]) @ a.T).masked_fill(left_out, -torch.inf)
            a_to_b = (rows.logsumexp(dim=1) - positive).mean()
            b_to_a = (columns.logsumexp(dim=1) - positive).mean()
        return 0.5 * (a_to_b + b_to_a)
