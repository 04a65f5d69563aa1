"""Where frozen speech encoders come from: one class per source, and what these share.

A backend is a ``torch.nn.Module`` of the form of ``SpeechBackend``, whose constructor takes
``model`` and its own options by keyword. To train parts, it has ``layers`` and ``lora_modules``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from espnet_plugin.utils.padding import padding_mask


class SpeechBackend(Protocol):
    """What every speech encoder backend offers (besides being a ``torch.nn.Module``)."""

    num_layers: int  # number of hidden states, L + 1 for an encoder of L layers
    dim: int
    stride: int  # samples per frame
    sampling_rate: int
    min_samples: int  # shorter utterances are padded with zeros to this number of samples

    def wants_normalized_waveforms(self) -> bool:
        """Whether the model expects waveforms of zero mean and unit variance, and does not
        normalise them itself."""
        ...

    def frame_lengths(self, sample_lengths: Tensor) -> Tensor:
        """Exact number of frames, (batch,), of utterances of these numbers of samples, (batch,).

        An utterance shorter than ``min_samples`` has as many as one of that length.
        """
        ...

    def __call__(self, speech: Tensor, sample_lengths: Tensor, ends: Sequence[int]) -> Tensor:
        """Encodes waveforms as ``prepare_waveforms`` leaves them.

        Args:
            speech: Waveforms, (batch, samples), 0 after each utterance's end.
            sample_lengths: Numbers of samples, (batch,), each at least ``min_samples``.
            ends: The same numbers on the host, which then need not wait for the device.

        Returns:
            Hidden states (batch, layers + 1, frames, dim), 0 at padded frames.
        """
        ...


class StateCollector:
    """Gathers hidden states (batch, frames, dim) into one (batch, layers + 1, frames, dim).

    Without gradients each state is copied into its place as soon as it exists. The encoder's own
    tensor can then be freed: all states take their memory once, not twice.

    Args:
        num_states: Number of states that will be added.
    """

    def __init__(self, num_states: int) -> None:
        self._num_states = num_states
        self._states: list[Tensor] = []
        self._buffer: Tensor | None = None

    def add(self, state: Tensor) -> None:
        """Adds the next state (batch, frames, dim)."""
        if not state.requires_grad:
            if self._buffer is None:
                batch, frames, dim = state.shape
                self._buffer = state.new_empty(batch, self._num_states, frames, dim)
            state = self._buffer[:, len(self._states)].copy_(state)
        self._states.append(state)

    def stack(self, lengths: Sequence[int]) -> Tensor:
        """All states (batch, layers + 1, frames, dim), 0 at frames from ``lengths[i]`` on."""
        if len(self._states) != self._num_states:
            raise RuntimeError(f"the encoder gave {len(self._states)} of {self._num_states} states")
        if self._states[-1].requires_grad:  # as all after a trained part
            states = torch.stack(self._states, dim=1)
            ends = torch.tensor(lengths, device=states.device)
            padding = padding_mask(ends, states.shape[2])  # (batch, frames)
            return states.masked_fill(padding[:, None, :, None], 0.0)
        assert self._buffer is not None
        for row, length in enumerate(lengths):
            self._buffer[row, :, length:].zero_()
        return self._buffer
