"""The keywords of a batch, and how neighbours that chose the same sub-word become one.

Segments finer than words name most words twice in a row. A run of equal rows counts once: its
vectors are averaged, its spans joined. A word that is said twice in a row is two runs: as with
CTC's labels (Graves et al., 2006), a blank separates them, or, where an option says so, the sound
(:mod:`espnet_plugin.model.recurrence`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from espnet_plugin.model.blank import Reading
from espnet_plugin.model.cif import CifOutput, fired_frames
from espnet_plugin.model.quantizer import QuantizerOutput
from espnet_plugin.model.recurrence import said_again
from espnet_plugin.teachers.speech_encoder import SpeechStates
from espnet_plugin.utils.padding import join_padded, padding_mask


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


def merge_repeats(
    keywords: Keywords,
    blank: Tensor,
    speech: Sequence[SpeechStates],
    *,
    recurrence: float | None = None,
) -> Keywords:
    r"""Makes each run of neighbours with the same sub-word one keyword.

    Of the keywords :math:`k_1 \dots k_N` with sub-words :math:`i_1 \dots i_N`, run :math:`m` is
    the :math:`m`-th maximal stretch :math:`R_m = \{a, \dots, b\}` with
    :math:`i_a = \dots = i_b` that nothing separates. It becomes

    .. math:: \bar k_m = \frac{1}{|R_m|} \sum_{n \in R_m} k_n

    from the start of segment :math:`a` to the end of segment :math:`b`.

    Args:
        keywords: Keywords as the quantiser chose them.
        blank: True at segments that choose no sub-word, (batch, slots).
        speech: Hidden states of the batch, or of its parts in order.
        recurrence: Least recurrence of sounds that separates segments of CIF, see
            :func:`espnet_plugin.model.recurrence.said_again`. Then blank segments are left out,
            except among neighbours with the same sub-word. With None, blank segments separate.
    """
    rows, lengths, cif = keywords.quantized.rows, keywords.lengths, keywords.cif
    if recurrence is None or cif is None:
        runs = find_runs(rows, lengths, blank, blank.long().cumsum(dim=1))
    else:
        left_out = unsaid(rows, lengths, blank)
        runs = find_runs(rows, lengths, left_out)
        sounds = join_padded([part.hidden_states.float().mean(dim=1) for part in speech])
        frame_lengths = torch.cat([part.lengths for part in speech])
        again = times_again(runs, cif, sounds, frame_lengths, least=recurrence)
        runs = find_runs(rows, lengths, left_out, again)
    return Keywords(
        runs.mean(keywords.slots),
        runs.lengths,
        runs.mean(keywords.projected),
        runs.mean(keywords.embeddings),
        merge_quantized(keywords.quantized, runs),
        merge_segments(keywords.cif, runs) if keywords.cif is not None else None,
    )


def unsaid(rows: Tensor, lengths: Tensor, blank: Tensor) -> Tensor:
    """Marks the blank slots, except those in a row of equal slots that are not all blank.

    Args:
        rows: Row of each slot, also of blank ones, (batch, slots).
        lengths: Number of valid slots, (batch,).
        blank: True at blank slots, (batch, slots).

    Returns:
        (batch, slots); anything at padding.
    """
    said = ~(padding_mask(lengths, rows.size(1)) | blank)  # (batch, slots)
    run_of = F.pad((rows[:, 1:] != rows[:, :-1]).long(), (1, 0)).cumsum(dim=1)
    return torch.zeros_like(rows).scatter_add(1, run_of, said.long()).gather(1, run_of) == 0


def find_runs(rows: Tensor, lengths: Tensor, left_out: Tensor, again: Tensor | None = None) -> Runs:
    """Groups slots that are equal to the one before; slots that are left out do not count.

    Args:
        rows: Chosen row of each slot, (batch, slots).
        lengths: Number of valid slots, at least one, (batch,).
        left_out: True at slots that are in no run, (batch, slots).
        again: Number that differs within a run where it must end, (batch, slots).
    """
    slots = rows.size(1)
    valid = ~(padding_mask(lengths, slots) | left_out)  # (batch, slots)
    place = torch.arange(slots, device=rows.device)
    latest = torch.where(valid, place, -1).cummax(dim=1).values  # (batch, slots)
    before = F.pad(latest[:, :-1], (1, 0), value=-1)  # the valid slot before; -1: there is none
    other = before < 0
    for labels in (rows, *([] if again is None else [again])):
        other = other | (labels != labels.gather(1, before.clamp(min=0)))
    starts = valid & other
    number = starts.sum(dim=1)  # (batch,)
    run_of = starts.long().cumsum(dim=1) - 1  # (batch, slots)
    runs = torch.arange(slots, device=rows.device)
    members = (run_of[:, None, :] == runs[None, :, None]) & valid[:, None, :]
    weights = members / members.sum(dim=2, keepdim=True).clamp(min=1)  # (batch, runs, slots)
    return Runs(weights, number)


def times_again(
    runs: Runs, segments: CifOutput, sounds: Tensor, frame_lengths: Tensor, *, least: float
) -> Tensor:
    """Number of times that a run's sounds have come again before each segment, (batch, slots).

    It counts on from run to run.
    """
    members = runs.weights > 0  # (batch, runs, slots)
    slots, frames = members.size(2), segments.fired.size(1)
    starts, ends = segments.starts[:, :slots], segments.ends[:, :slots]
    first = starts[:, None].masked_fill(~members, frames).amin(dim=2)  # (batch, runs)
    begins = torch.zeros_like(segments.fired, dtype=torch.long)
    begins = F.pad(begins, (0, 1)).scatter_add(1, first, torch.ones_like(first))[:, :frames]
    stretches = begins.cumsum(dim=1)  # (batch, frames)
    again = said_again(sounds, frame_lengths, stretches, least=least) - stretches
    return again.gather(1, ((starts + ends) // 2).clamp(max=frames - 1))


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
