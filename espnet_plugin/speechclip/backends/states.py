"""Collecting an encoder's hidden states layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from espnet_plugin.speechclip.padding import padding_mask


class StateCollector:
    """Gathers hidden states (batch, frames, dim) into one (batch, layers + 1, frames, dim).

    Without gradients each state is copied into its place as soon as it exists, so that the
    encoder's own tensor can be freed: all states take their memory once, not twice.

    Args:
        num_states: How many will be added.
    """

    def __init__(self, num_states: int) -> None:
        self._num_states = num_states
        self._states: list[Tensor] = []
        self._buffer: Tensor | None = None
        self._added = 0

    def add(self, state: Tensor) -> None:
        """Adds the next state (batch, frames, dim)."""
        if self._added == self._num_states:
            raise RuntimeError(f"the encoder gave more than {self._num_states} hidden states")
        if state.requires_grad:
            self._states.append(state)
        else:
            if self._buffer is None:
                batch, frames, dim = state.shape
                self._buffer = state.new_empty(batch, self._num_states, frames, dim)
            self._buffer[:, self._added].copy_(state)
        self._added += 1

    def stack(self, lengths: Sequence[int]) -> Tensor:
        """All states (batch, layers + 1, frames, dim), 0 at frames from ``lengths[i]`` on."""
        if self._added != self._num_states:
            raise RuntimeError(f"the encoder gave {self._added} of {self._num_states} states")
        if self._states:
            earlier = [] if self._buffer is None else list(self._buffer.unbind(1))
            states = torch.stack(earlier[: self._num_states - len(self._states)] + self._states, 1)
            ends = torch.tensor(lengths, device=states.device)
            padding = padding_mask(ends, states.shape[2])  # (batch, frames)
            return states.masked_fill(padding[:, None, :, None], 0.0)
        assert self._buffer is not None
        for row, length in enumerate(lengths):
            self._buffer[row, :, length:].zero_()
        return self._buffer
