"""Speech as the model takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from espnet_plugin.utils.samples import float_samples


class SpeechBatch(NamedTuple):
    """A padded batch: waveforms, or hidden states that were stored.

    It is made once, where speech comes in, and its samples are floating point from there on. It is
    a named tuple, because loaders and ESPnet move such a one to a GPU without copying it first.

    Attributes:
        lengths: Number of samples or frames, (batch,).
        waveforms: Mono samples, floating point in [-1, 1], (batch, samples); None with states.
        normalized: Whether the waveforms are already normalised.
        states: Stored states in floating point, or their codes, (batch, frames, layers + 1, dim).
        scale: Scale of the codes, (batch, frames, layers + 1).
        dimensions: Mean and deviation of the codes, (batch, 2, layers + 1, dim).
    """

    lengths: Tensor
    waveforms: Tensor | None = None
    normalized: bool = False
    states: Tensor | None = None
    scale: Tensor | None = None
    dimensions: Tensor | None = None

    def to(self, device: str | torch.device, dtype: torch.dtype | None = None) -> SpeechBatch:
        """The same batch on a device, with its waveforms of type ``dtype`` if that is given."""
        moved = SpeechBatch._make(x.to(device) if isinstance(x, Tensor) else x for x in self)
        if moved.waveforms is None or dtype is None:
            return moved
        return moved._replace(waveforms=moved.waveforms.to(dtype))

    def rows(self, rows: Tensor, longest: int) -> SpeechBatch:
        """Some utterances, cut at their longest, in samples or frames."""
        waveforms, states, scale = (
            None if x is None else x[:, :longest].index_select(0, rows)
            for x in (self.waveforms, self.states, self.scale)
        )
        dimensions = None if self.dimensions is None else self.dimensions[rows]
        lengths = self.lengths[rows]
        return SpeechBatch(lengths, waveforms, self.normalized, states, scale, dimensions)


def waveform_batch(
    speech: Tensor | np.ndarray, lengths: Tensor | np.ndarray | list[int] | None = None
) -> SpeechBatch:
    """A batch of waveforms.

    Args:
        speech: Mono samples at the encoder's rate, in [-1, 1] or integers as in recordings: a
            padded batch (batch, samples), or one utterance (samples,).
        lengths: Number of samples of each utterance, (batch,); all by default.

    Raises:
        TypeError: If ``speech`` is neither tensor nor array, or of another type of numbers.
    """
    if not isinstance(speech, (Tensor, np.ndarray)):
        raise TypeError(
            f"speech is of type {type(speech).__name__}: give one padded tensor (batch, samples). "
            "SpeechCLIP takes files"
        )
    waveforms = float_samples(torch.as_tensor(speech))
    waveforms = waveforms[None] if waveforms.dim() == 1 else waveforms
    if lengths is None:
        lengths = torch.full(waveforms.shape[:1], waveforms.shape[-1])
    return SpeechBatch(torch.as_tensor(lengths, device=waveforms.device), waveforms)


def loaded_batch(tensors: Mapping[str, Tensor], *, normalized: bool = False) -> SpeechBatch:
    """A batch of what a data loader collated, by the names of ESPnet's data options.

    Args:
        tensors: ``speech`` and ``speech_lengths``; or ``speech_states`` and
            ``speech_states_lengths``, for codes with ``speech_states_scale`` and
            ``speech_states_dimensions``.
        normalized: Whether the waveforms are already normalised.

    Raises:
        ValueError: If there are neither waveforms nor states.
    """
    if "speech_states" in tensors:
        states, lengths, scale, dimensions = (
            tensors.get(f"speech_states{end}") for end in ("", "_lengths", "_scale", "_dimensions")
        )
        assert lengths is not None
        return SpeechBatch(lengths, None, False, states, scale, dimensions)
    if "speech" not in tensors:
        raise ValueError("A batch needs either speech or speech_states, with their lengths.")
    batch = waveform_batch(tensors["speech"], tensors["speech_lengths"])
    return batch._replace(normalized=normalized)


def padded_batch(utterances: Sequence[np.ndarray]) -> SpeechBatch:
    """A batch of utterances, (samples,) each, with zeros after their ends."""
    # ESPnet's CommonCollateFn pads, too, but importing it takes 8 s of CPU: it brings the
    # grapheme-to-phoneme libraries of all languages
    rows = [torch.as_tensor(samples) for samples in utterances]
    return waveform_batch(pad_sequence(rows, batch_first=True), [len(row) for row in rows])
