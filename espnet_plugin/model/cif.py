"""Continuous Integrate-and-Fire: cutting a sequence of frames into keyword slots.

A weight is predicted for every frame. Weights are integrated over time. Each time the running sum
passes a multiple of the threshold, a slot fires: its embedding is the weighted sum of the frames
since the last firing. Sources: Dong & Xu 2020 (arXiv 1905.11235); SpeechCLIP+ (arXiv 2402.06959).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from espnet_plugin.utils.device import widest
from espnet_plugin.utils.padding import join_padded, padding_mask

# Scaling adds a margin to the wanted sum, or rounding could lose the last slot: this share of the
# sum, and at least the first number.
LEAST_MARGIN, SCALING_MARGIN = 1e-5, 5e-7


@dataclass(frozen=True)
class CifOutput:
    """What the segmenter found.

    Attributes:
        lengths: Number of slots of each row, at least one, (batch,).
        alphas: Weights that were integrated, zero at padding, (batch, frames).
        alpha_sum: Predicted sum of the weights, before any scaling, (batch,): the soft number of
            keywords, which the quantity loss compares with the target.
        fired: True at frames in which a slot was completed, (batch, frames).
        starts: First frame of each slot, zero beyond a row's length, (batch, slots).
        ends: One past the last frame of each slot, (batch, slots). Neighbouring slots share the
            frame that fired.
        dropped: Number of other slots that were not kept, (batch,). Their speech is in no slot.
    """

    lengths: Tensor
    alphas: Tensor
    alpha_sum: Tensor
    fired: Tensor
    starts: Tensor
    ends: Tensor
    dropped: Tensor

    def cut(self, slots: int) -> CifOutput:
        """The same output with room for fewer slots, from the first one on."""
        return replace(self, starts=self.starts[:, :slots], ends=self.ends[:, :slots])


def join_outputs(parts: Sequence[CifOutput]) -> CifOutput:
    """What was found in the parts of a batch, one after the other."""
    names = [field.name for field in fields(CifOutput)]
    return CifOutput(**{n: join_padded([getattr(part, n) for part in parts]) for n in names})


def fire(
    alphas: Tensor,
    *,
    threshold: float = 1.0,
    tail_threshold: float | None = None,
    max_slots: int = 75,
    keep_leftovers: bool = False,
) -> tuple[Tensor, CifOutput]:
    """Cuts frames into slots of ``threshold`` total weight each.

    On the axis of accumulated weight, frame t covers the interval [c[t-1], c[t]]. Slot n covers
    [n * threshold, (n + 1) * threshold]. The share of frame t in slot n is the length of their
    overlap. So :func:`integrate` is one matrix product, even if a single frame fires several times.
    Slot counts carry no gradient; shares do.

    The result has room for ``max_slots`` slots. Their number is not looked up, because the host
    would wait for the device.

    Shapes:
        B: batch, T: frames, N: max_slots

    Args:
        alphas: Non-negative weights, zero at padding, (B, T).
        threshold: Weight that completes a slot.
        tail_threshold: Weight from which the unfinished last slot counts and is scaled up to
            ``threshold``. None drops it. A row that never fires keeps its unscaled partial sum as
            the only slot.
        max_slots: Slots beyond this number are dropped, and counted.
        keep_leftovers: Without tail handling, keep the unfinished slot of a row that is shorter
            than the batch's longest (see :class:`ReferenceCompatibility`).

    Returns:
        The share of each frame in each slot, (B, N, T), and the slots' number and frames.
        ``alpha_sum`` is the sum of ``alphas``.
    """
    batch, frames = alphas.shape
    if threshold <= 0:
        raise ValueError(f"threshold must be positive, got {threshold}")
    if tail_threshold is not None and tail_threshold <= 0:
        # no weight at all would count as a slot
        raise ValueError(f"tail_threshold must be positive or null, got {tail_threshold}")

    # In double precision the running sum does not drift: a row has the same slots in any batch.
    precise = widest(alphas)
    upper = precise.cumsum(dim=1)  # (B, T)
    lower = torch.cat([upper.new_zeros(batch, 1), upper[:, :-1]], dim=1)  # (B, T)
    total = upper[:, -1].detach()  # (B,)
    completed = (total / threshold).floor().long()  # (B,)
    lengths = completed.clamp(min=1, max=max_slots)  # (B,)

    slots = torch.arange(max_slots + 1, device=alphas.device)  # (N + 1,)
    edges = threshold * slots.to(upper.dtype)  # (N + 1,)
    shares = _overlap(lower, upper, edges)  # (B, N, T)

    if tail_threshold is not None:
        completed = completed + (total - threshold * completed >= tail_threshold)
        shares, lengths = _complete_tails(shares, lengths, threshold, tail_threshold)

    valid = ~padding_mask(lengths, max_slots)  # (B, N)
    if not keep_leftovers or tail_threshold is not None:
        shares = shares * valid[:, :, None]

    starts, ends = _slot_frames(upper.detach(), edges, valid)
    return shares, CifOutput(
        lengths=lengths,
        alphas=alphas,
        alpha_sum=alphas.sum(dim=1),
        fired=fired_frames(ends, valid, frames),
        starts=starts,
        ends=ends,
        dropped=(completed - max_slots).clamp(min=0),
    )


def integrate(shares: Tensor, features: Tensor) -> Tensor:
    """Sums frames into slots, (B, N, C).

    Args:
        shares: Share of each frame in each slot, (B, N, T).
        features: Vectors of the frames, (B, T, C), finite everywhere.
    """
    return torch.matmul(shares.to(features.dtype), features)


def _overlap(lower: Tensor, upper: Tensor, edges: Tensor) -> Tensor:
    """Length of the overlap of each slot [edges[n], edges[n+1]] with each frame [lower, upper], (B,
    N, T).

    ``minimum`` and ``maximum`` would split the gradient if a frame ends exactly on an edge.
    """
    left, right = edges[None, :-1, None], edges[None, 1:, None]  # (1, N, 1)
    lower, upper = lower[:, None, :], upper[:, None, :]  # (B, 1, T)
    begin = torch.where(lower >= left, lower, left)
    end = torch.where(upper < right, upper, right)
    touches = (upper >= left) & (lower < right)
    return torch.where(touches, end - begin, torch.zeros_like(begin))


def _complete_tails(
    shares: Tensor, lengths: Tensor, threshold: float, tail_threshold: float
) -> tuple[Tensor, Tensor]:
    """Counts the unfinished last slot if it is heavy enough; gives shares and number of slots.

    Args:
        shares: Share of each frame in each slot, (B, N, T).
        lengths: Number of finished slots, (B,).
        threshold: Weight to which the last slot is scaled up.
        tail_threshold: Weight from which it counts.
    """
    slots = torch.arange(shares.size(1), device=shares.device)  # (N,)
    sums = shares.detach().sum(dim=2)  # (B, N)
    has_tail = (slots == lengths[:, None]) & (sums >= tail_threshold)  # (B, N)
    gain = torch.where(has_tail, threshold / sums.clamp(min=1e-12), 1.0)
    return shares * gain[:, :, None], lengths + has_tail.any(dim=1)


def _slot_frames(upper: Tensor, edges: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """First frame and one past the last frame that give a slot weight; zeros for empty slots.

    Args:
        upper: Accumulated weight after each frame, (B, T).
        edges: Edges of the slots on the axis of accumulated weight, (N + 1,).
        valid: True at slots that count, (B, N).
    """
    left, right = (edge.expand(len(upper), -1).contiguous() for edge in (edges[:-1], edges[1:]))
    total = upper[:, -1:]  # (B, 1)
    present = valid & (left < total)  # (B, N)
    starts = torch.searchsorted(upper, left, right=True)
    ends = torch.searchsorted(upper, torch.minimum(right, total)) + 1
    return starts.where(present, 0), ends.where(present, 0)


def fired_frames(ends: Tensor, valid: Tensor, frames: int) -> Tensor:
    """Marks the frames that complete a slot, (batch, frames); a tail fires at its last frame."""
    marks = torch.zeros(ends.size(0), frames + 1, dtype=torch.long, device=ends.device)
    marks.scatter_add_(1, ends * valid, valid.long())
    return marks[:, 1:] > 0


class FrameWeights(nn.Module):
    """Predicts CIF's weights: alpha = sigmoid(w . ReLU(conv(frames)) + b).

    Args:
        dim: Size of a frame.
        conv_width: Width of each convolution in frames, odd.
        conv_layers: Number of convolutions.
        dropout: Dropout before each ReLU and before the weight projection.
        initial_bias: Bias of the weight projection at the start; None keeps PyTorch's random one.
        convolve_padding: Whether it sees padded frames, see :class:`ReferenceCompatibility`.
    """

    def __init__(
        self,
        dim: int,
        *,
        conv_width: int = 3,
        conv_layers: int = 1,
        dropout: float = 0.5,
        initial_bias: float | None = None,
        convolve_padding: bool = False,
    ) -> None:
        super().__init__()
        if conv_width % 2 == 0:
            raise ValueError(
                f"conv_width must be odd to keep the number of frames, got {conv_width}"
            )
        self.convolve_padding = convolve_padding
        layers: list[nn.Module] = []
        for _ in range(conv_layers):
            layers += [
                nn.Conv1d(dim, dim, conv_width, padding=conv_width // 2),
                nn.Dropout(dropout),
                nn.ReLU(),
            ]
        self.conv = nn.Sequential(*layers)
        linear = nn.Linear(dim, 1)
        self.weight_projection = nn.Sequential(nn.Dropout(dropout), linear)
        if initial_bias is not None:
            nn.init.constant_(linear.bias, initial_bias)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Weight of each frame in [0, 1], zero at padding, (batch, frames).

        Args:
            features: Frames, (batch, frames, dim), zero at padding, which the convolution sees.
            lengths: Number of frames, (batch,).
        """
        mask = padding_mask(lengths, features.size(1))  # (batch, frames)
        hidden = features.transpose(1, 2)  # (batch, dim, frames)
        for index, layer in enumerate(self.conv):
            # A deeper convolution would see the biases that the one before it left at padding.
            if index and isinstance(layer, nn.Conv1d) and not self.convolve_padding:
                hidden = hidden.masked_fill(mask[:, None, :], 0.0)
            hidden = layer(hidden)
        logits = self.weight_projection(hidden.transpose(1, 2))[:, :, 0]  # (batch, frames)
        return torch.sigmoid(logits.float()).to(features.dtype).masked_fill(mask, 0.0)


def scaled(alphas: Tensor, alpha_sum: Tensor, wanted: Tensor) -> Tensor:
    """Weights scaled to a wanted sum, (batch, frames).

    Args:
        alphas: Weights of the frames, (batch, frames).
        alpha_sum: Sum of the weights, (batch,).
        wanted: Wanted sum, (batch,). A margin is added, so rounding cannot lose the last slot.
    """
    wanted = wanted + (SCALING_MARGIN * wanted).clamp(min=LEAST_MARGIN)
    return alphas * (wanted / alpha_sum.clamp(min=1e-8))[:, None]


def quantity_loss(alpha_sum: Tensor, target_lengths: Tensor) -> Tensor:
    """Mean absolute difference of the soft and the wanted number of keywords.

    The quantity loss of CIF (arXiv 1905.11235), as SpeechCLIP+ (arXiv 2402.06959) uses it.

    Args:
        alpha_sum: Sum of the unscaled weights, (batch,).
        target_lengths: Wanted number of keywords, (batch,).
    """
    return (alpha_sum - target_lengths.to(alpha_sum.dtype)).abs().mean()


def duration_targets(frame_lengths: Tensor, frames_per_keyword: float) -> Tensor:
    """Wanted number of keywords by duration, (batch,): rounded half to even."""
    return torch.round(widest(frame_lengths) / frames_per_keyword).long()
