"""Where frozen speech encoders come from: one class per source.

A backend is a ``torch.nn.Module`` of the form of ``SpeechBackend``, whose constructor takes
``model`` and its own options by keyword.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class SpeechBackend(Protocol):
    """What every speech encoder backend offers (besides being a ``torch.nn.Module``)."""

    num_layers: int  # number of hidden states, L + 1 for an encoder of L layers
    dim: int
    stride: int  # samples per frame
    sampling_rate: int
    min_samples: int  # shorter utterances are continued with zeros up to so many samples

    def wants_normalized_waveforms(self) -> bool:
        """Whether the model was trained on waveforms of zero mean and unit variance, and does not
        normalise them itself."""
        ...

    def frame_lengths(self, sample_lengths: Tensor) -> Tensor:
        """Exact number of frames (batch,) of utterances of so many samples (batch,); an utterance
        shorter than ``min_samples`` has as many as one of that length."""
        ...

    def __call__(self, speech: Tensor, sample_lengths: Tensor, ends: Sequence[int]) -> Tensor:
        """Encodes waveforms as ``prepare_waveforms`` leaves them.

        Args:
            speech: (batch, samples), 0 behind each utterance's end.
            sample_lengths: (batch,), each at least ``min_samples``.
            ends: The same on the host, so that nobody has to wait for the device to know them.

        Returns:
            Hidden states (batch, layers + 1, frames, dim), 0 at padded frames.
        """
        ...
