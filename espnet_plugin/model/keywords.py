"""The keywords of a batch, and how neighbours that chose the same sub-word become one.

Segments finer than words name most words twice in a row. As with CTC's labels (Graves et al.,
2006), a run of equal rows without a blank counts once: its vectors are averaged, its spans joined.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from espnet_plugin.model.blank import Reading
from espnet_plugin.model.cif import CifOutput, fired_frames
from espnet_plugin.model.quantizer import QuantizerOutput
from espnet_plugin.utils.padding import padding_mask


@dataclass(frozen=True)
class Keywords:
    """The keywords of a batch, from slots of frames to sub-words.

    Attributes:
        slots: Slots before projection, (batch, slots, dim).
        lengths: Number of keywords, (batch,).
        projected: Slots after projection, (batch, slots, token_dim).
        embeddings: Slots after the batch norm, if there is one, (batch, slots, token_dim). They
            are compared with the token table.
        quantized: Sub-words that were chosen.
        cif: Weights and time spans, or None if the extractor does not segment the speech.
        reading: Probabilities of what is read in training, or None if no segment may be blank.
    """

    slots: Tensor
    lengths: Tensor
    projected: Tensor
    embeddings: Tensor
    quantized: QuantizerOutput
    cif: CifOutput | None
    reading: Reading | None = None


@dataclass(frozen=True)
class Runs:
    """Runs of equal neighbours.

    Attributes:
        weights: One over the length of the run at its members, zero elsewhere, (batch, runs,
            slots): a product with it averages over runs. There is room for as many runs as slots.
            Their number is not looked up, because the host would wait for the device.
        lengths: Number of runs, (batch,).
    """

    weights: Tensor
    lengths: Tensor

    def mean(self, values: Tensor) -> Tensor:
        """Averages (batch, slots, dim) over runs, (batch, runs, dim); zero beyond the last run.

        At least in float32, under autocast too: in 16 bits even the mean of a run of one would be
        another vector, with another nearest sub-word.
        """
        slots = self.weights.size(2)
        members = self.weights.sum(dim=1) > 0  # (batch, slots)
        # Padding may hold anything, infinities included: it must not meet the product.
        values = values[:, :slots].masked_fill(~members[:, :, None], 0.0)
        precision = torch.promote_types(values.dtype, torch.float32)
        with torch.autocast(values.device.type, enabled=False):
            return torch.matmul(self.weights.to(precision), values.to(precision))


def merge_repeats(keywords: Keywords, blank: Tensor) -> Keywords:
    r"""Makes each run of neighbours with the same sub-word one keyword.

    Of the keywords :math:`k_1 \dots k_N` with sub-words :math:`i_1 \dots i_N`, run :math:`m` is
    the :math:`m`-th maximal stretch :math:`R_m = \{a, \dots, b\}` with
    :math:`i_a = \dots = i_b`. It becomes

    .. math:: \bar k_m = \frac{1}{|R_m|} \sum_{n \in R_m} k_n

    from the start of segment :math:`a` to the end of segment :math:`b`.

    Args:
        keywords: Keywords as the quantiser chose them.
        blank: True at segments that are left out; a run ends there, (batch, slots).
    """
    runs = find_runs(keywords.quantized.rows, keywords.lengths, blank)
    return Keywords(
        runs.mean(keywords.slots),
        runs.lengths,
        runs.mean(keywords.projected),
        runs.mean(keywords.embeddings),
        merge_quantized(keywords.quantized, runs),
        merge_segments(keywords.cif, runs) if keywords.cif is not None else None,
    )


def find_runs(rows: Tensor, lengths: Tensor, blank: Tensor) -> Runs:
    """Groups equal neighbours.

    Args:
        rows: Chosen row of each slot, (batch, slots).
        lengths: Number of valid slots, at least one, (batch,).
        blank: True at slots that are in no run, (batch, slots).
    """
    slots = rows.size(1)
    valid = ~(padding_mask(lengths, slots) | blank)  # (batch, slots)
    rows = rows.masked_fill(blank, -1)
    starts = valid.clone()
    starts[:, 1:] &= rows[:, 1:] != rows[:, :-1]
    number = starts.sum(dim=1)  # (batch,)
    run_of = starts.long().cumsum(dim=1) - 1  # (batch, slots)
    runs = torch.arange(slots, device=rows.device)
    members = (run_of[:, None, :] == runs[None, :, None]) & valid[:, None, :]
    weights = members / members.sum(dim=2, keepdim=True).clamp(min=1)  # (batch, runs, slots)
    return Runs(weights, number)


def merge_quantized(quantized: QuantizerOutput, runs: Runs) -> QuantizerOutput:
    """One entry for each run; the mean of its members has the same nearest row as they."""
    first = runs.weights.argmax(dim=2)  # (batch, runs)
    similarities = quantized.similarities
    forbidden = similarities.isneginf()
    mean = runs.mean(similarities.masked_fill(forbidden, 0.0))
    return replace(
        quantized,
        embeddings=runs.mean(quantized.embeddings),
        rows=quantized.rows.gather(1, first),
        similarities=mean.masked_fill(forbidden[:, :1], -torch.inf),
    )


def merge_segments(segments: CifOutput, runs: Runs) -> CifOutput:
    """One span for each run: from the start of its first segment to the end of its last one."""
    members = runs.weights > 0  # (batch, runs, slots)
    slots, frames = members.size(2), segments.fired.size(1)
    valid = ~padding_mask(runs.lengths, members.size(1))
    starts = segments.starts[:, None, :slots].masked_fill(~members, frames).amin(dim=2)
    ends = segments.ends[:, None, :slots].masked_fill(~members, 0).amax(dim=2)
    starts, ends = starts.where(valid, 0), ends.where(valid, 0)
    return replace(
        segments,
        lengths=runs.lengths,
        starts=starts,
        ends=ends,
        fired=fired_frames(ends, valid, frames),
    )
