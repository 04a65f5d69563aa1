"""Batch norm that gives keywords the mean and deviation of CLIP's token embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_plugin.model.gather import is_distributed, sum_over_ranks
from espnet_plugin.utils.compatibility import ReferenceCompatibility
from espnet_plugin.utils.padding import padding_mask

MOMENTUM = 0.1  # share of the newest batch in the running statistics


class KeywordBatchNorm(nn.Module):
    """Batch normalisation of keywords, started at the token table's mean and standard deviation.

    Quantisation by cosine similarity needs keywords with the token table's statistics (SpeechCLIP,
    arXiv 2210.00705). Under distributed training the statistics are those of all ranks' keywords.

    Args:
        dim: Size of a keyword (token embedding).
        num_slots: Number of keywords of every utterance, if it is fixed.
        scale: Factor of the table's standard deviation at the start.
        per_slot: Whether each of a fixed number of keywords has statistics of its own.
        learnable: Whether to train weight and bias.
        compatibility: Defects of the original to reproduce; the factory gives it.
    """

    def __init__(
        self,
        dim: int,
        num_slots: int | None = None,
        *,
        scale: float = 1.0,
        per_slot: bool = True,
        learnable: bool = True,
        compatibility: ReferenceCompatibility | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.num_slots = num_slots if per_slot else None
        self.scale = scale
        self.compatibility = compatibility or ReferenceCompatibility()
        self.norm = nn.BatchNorm1d(dim * (self.num_slots or 1), momentum=MOMENTUM)
        self.norm.requires_grad_(learnable)

    @torch.no_grad()
    def initialise(self, table: Tensor) -> None:
        """Sets bias and weight to the mean and the standard deviation (times ``scale``) over a
        table's rows.

        Args:
            table: Embeddings of the tokens that may be chosen, (rows, dim).
        """
        mean, deviation = table.float().mean(dim=0), self.scale * table.float().std(dim=0)  # (dim,)
        if self.num_slots is not None:
            # The channel of dimension d of slot k is d * num_slots + k.
            if self.compatibility.permuted_norm_init:
                mean, deviation = mean.repeat(self.num_slots), deviation.repeat(self.num_slots)
            else:
                mean = mean.repeat_interleave(self.num_slots)
                deviation = deviation.repeat_interleave(self.num_slots)
        self.norm.bias.copy_(mean)
        self.norm.weight.copy_(deviation)

    def forward(self, keywords: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Normalises keywords; padded slots neither count in the statistics nor change.

        Args:
            keywords: Projected slots, (batch, slots, dim).
            lengths: Number of valid slots, (batch,); all by default.
        """
        if self.num_slots is not None:
            return self._per_slot(keywords)
        if lengths is None or self.compatibility.norm_over_padding:
            return self._apply_norm(keywords.flatten(0, 1)).view_as(keywords)
        valid = ~padding_mask(lengths, keywords.size(1))[:, :, None]  # (batch, slots, 1)
        rows = keywords.masked_fill(~valid, 0.0).flatten(0, 1)  # (batch * slots, dim)
        normed = self._apply_norm(rows, valid.flatten(0, 1)).view_as(keywords)
        return torch.where(valid, normed.to(keywords.dtype), keywords)

    def _per_slot(self, keywords: Tensor) -> Tensor:
        batch, slots, dim = keywords.shape
        if slots != self.num_slots:
            raise ValueError(f"keywords per utterance: expected {self.num_slots}, got {slots}")
        channels = keywords.transpose(1, 2).reshape(batch, dim * slots)
        return (
            self._apply_norm(channels).view(batch, dim, slots).transpose(1, 2)
        )  # (batch, slots, dim)

    def _apply_norm(self, rows: Tensor, valid: Tensor | None = None) -> Tensor:
        """Normalises rows, (rows, channels), in training by their statistics over all ranks.

        Only rows that are ``valid``, (rows, 1), count; the others are zero.
        """
        norm = self.norm
        if not self.training:
            return norm(rows)
        if is_distributed() or valid is not None:
            return self._norm_by_moments(rows, valid)
        if rows.size(0) < 2:
            # One sample has no variance: fall back to the running statistics.
            return F.batch_norm(
                rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
        mean, variance = (statistic.clone() for statistic in self._running())
        normed = F.batch_norm(
            rows, mean, variance, norm.weight, norm.bias, True, MOMENTUM, norm.eps
        )
        self._update_running(mean, variance)
        return normed

    def _norm_by_moments(self, rows: Tensor, valid: Tensor | None) -> Tensor:
        norm = self.norm
        old_mean, old_variance = self._running()
        with torch.autocast(rows.device.type, enabled=False):
            values = rows.to(torch.promote_types(rows.dtype, torch.float32))
            mean, variance, count = moments_over_ranks(values, valid)
            enough = count > 1
            # NaN: no update without a variance
            unbiased = torch.where(enough, variance.detach() * count / (count - 1), torch.nan)
            running_mean = old_mean.lerp(mean.detach(), MOMENTUM)
            running_var = old_variance.lerp(unbiased, MOMENTUM)
            mean = torch.where(enough, mean, old_mean)
            variance = torch.where(enough, variance, old_variance)
            normed = (values - mean) * (variance + norm.eps).rsqrt() * norm.weight + norm.bias
        self._update_running(running_mean, running_var)
        return normed.to(rows.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor) -> None:
        """Takes over new running statistics, (channels,) each, unless a value is not finite.

        Mixed precision skips the update of a batch that overflowed; a running statistic would keep
        its infinities.
        """
        finite = mean.isfinite().all() & variance.isfinite().all()
        for running, new in zip(self._running(), (mean, variance), strict=True):
            running.copy_(torch.where(finite, new, running))
        assert self.norm.num_batches_tracked is not None
        self.norm.num_batches_tracked.add_(finite)

    def _running(self) -> tuple[Tensor, Tensor]:
        """Running mean and variance, (channels,) each."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None and variance is not None
        return mean, variance


def moments_over_ranks(rows: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance over the rows of all ranks, (channels,) each, and their number.

    Gradients flow to the ranks that the rows came from. Ranks may hold different numbers of rows,
    also none.

    Args:
        rows: Rows of this rank, (rows, channels).
        valid: True at rows that count, (rows, 1); all by default. The others are zero.
    """
    if valid is None:
        valid = torch.ones_like(rows[:, :1], dtype=torch.bool)
    own = torch.cat([rows.sum(dim=0), valid.sum(dim=0).to(rows.dtype)])
    total = sum_over_ranks(own)
    count = total[-1].detach()
    mean = total[:-1] / count.clamp(min=1)
    squares = sum_over_ranks(((rows - mean) * valid).square().sum(dim=0))
    return mean, squares / count.clamp(min=1), count
