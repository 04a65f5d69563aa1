"""The contrastive objective. Your own loss needs the ``forward`` and ``scale`` of
:class:`MaskedContrastiveLoss`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from espnet_plugin.model.bounds import set_bounds
from espnet_plugin.model.gather import ratio_over_ranks

DIRECTIONS = ("both", "a_to_b", "b_to_a")


class MaskedContrastiveLoss(nn.Module):
    r"""Symmetric contrastive loss without captions of the same image as negatives.

    With :math:`l = s \, a b^T`, each row gives

    .. math:: -l_{ii} + \log \sum_j M_{ij} \exp(l_{ij})

    and so does each column. :math:`M` drops the pairs :math:`i \ne j` of the same image and, if
    ``decoupled``, the positive pair. Sources: SpeechCLIP; InfoNCE of CLIP (arXiv 2103.00020).

    Args:
        initial_temperature: Inverse of the scale at the start.
        learnable: Train the scale (its logarithm).
        margin: Subtracted from the scaled positive similarities.
        decoupled: Leave the positive pair out of the denominator (arXiv 2110.06848).
        directions: ``"both"``, ``"a_to_b"`` (rows only) or ``"b_to_a"`` (columns only).
        max_scale: Largest scale: at the start, after loading, and after each update with
            :func:`espnet_plugin.model.bounds.keep_in_bounds`.
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
        similarities instead of batch x batch. The loss of the whole batch is the mean of the ranks'
        losses weighted by their rows, as in ESPnet's trainer. The same holds for gradients.

        Args:
            a: L2-normalised embeddings, (batch, dim).
            b: L2-normalised embeddings of the partners, row by row, (batch, dim).
            ids: Same id = same image, (batch,). None: all different.
            own: Rows to average over; None: all. The others are their negatives.

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


def cross_lingual_loss(
    speech: Tensor, ids: Tensor, languages: Tensor, scale: Tensor, *, own: slice | None = None
) -> Tensor:
    r"""Contrastive loss between captions of the same image in different languages.

    With :math:`l = s \, a a^T`, an utterance :math:`i` and one of its image in another language,
    :math:`p`, give

    .. math:: -l_{ip} + \log \Bigl( e^{l_{ip}} + \sum_j e^{l_{ij}} \Bigr)

    where :math:`j` are the utterances of other images in the language of :math:`p`. All such pairs
    of the batch are averaged. If every image has one caption in each language, this is the mean
    over pairs of languages of the symmetric loss of M-SpeechCLIP's code (arXiv 2211.01180).

    Args:
        speech: L2-normalised embeddings, (batch, dim).
        ids: Same id = same image, (batch,).
        languages: Same number = same language, (batch,).
        scale: :math:`s`, factor of the similarities.
        own: Rows :math:`i`; None: all. A rank gives the rows of all ranks and its own ones.

    Returns:
        The mean over the pairs of all ranks; zero if no image of the batch has captions in two
        languages.
    """
    own = slice(0, len(speech)) if own is None else own
    with torch.autocast(speech.device.type, enabled=False):
        speech = speech.to(torch.promote_types(speech.dtype, torch.float32))
        logits = scale * speech[own] @ speech.T  # (own, batch)
        same = ids[own, None] == ids
        losses = [logits.new_zeros(0)]
        for language in languages.unique():
            columns = languages == language
            asked = languages[own] != language
            part, pairs = logits[asked][:, columns], same[asked][:, columns]  # (asked, columns)
            others = part.masked_fill(pairs, -torch.inf).logsumexp(dim=1, keepdim=True)
            losses.append((torch.logaddexp(part, others) - part)[pairs])
        pooled = torch.cat(losses)
        return ratio_over_ranks(pooled.sum(), pooled.new_full((), len(pooled)))


def bank_loss(
    speech: Tensor,
    targets: Tensor,
    bank: Tensor,
    scale: Tensor,
    *,
    softness: float = 0.0,
    temperature: float,
) -> Tensor:
    r"""Cross-entropy of each utterance over *all* images of the training set.

    With the utterance :math:`a`, its image :math:`p` and the images :math:`v_j`,

    .. math::
        B = -\sum_j q_j \log \mathrm{softmax}_j(s \, a \cdot v_j), \qquad
        q_j = (1 - \epsilon) [j = p] + \epsilon \, \mathrm{softmax}_j(v_p \cdot v_j / \theta).

    So similar images share the target. Images are frozen and stored: these negatives are exact,
    while a queue's are stale (MoCo, arXiv 1911.05722).

    Args:
        speech: L2-normalised embeddings, (batch, dim).
        targets: Row of each utterance's image in the bank, (batch,).
        bank: L2-normalised embeddings of the images, (images, dim).
        scale: :math:`s`, factor of the similarities.
        softness: :math:`\epsilon`, share of the soft targets.
        temperature: :math:`\theta`, of the soft targets.
    """
    with torch.autocast(speech.device.type, enabled=False):
        precision = torch.promote_types(speech.dtype, torch.float32)
        speech, bank = speech.to(precision), bank.to(precision)
        log_probabilities = (scale * speech @ bank.T).log_softmax(dim=1)  # (batch, images)
        loss = -log_probabilities.gather(1, targets[:, None]).mean()
        if softness:
            soft = (bank[targets] @ bank.T / temperature).softmax(dim=1)  # (batch, images)
            loss = (1 - softness) * loss - softness * (soft * log_probabilities).sum(dim=1).mean()
    return loss
