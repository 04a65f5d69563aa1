"""What the tests of the speech encoders' backends share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from espnet_plugin.teachers.waveforms import prepare_waveforms


def run(backend: Any, speech: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """States and frames of waveforms as the frozen encoder prepares them."""
    normalize = backend.wants_normalized_waveforms()
    waveforms, lengths = prepare_waveforms(
        speech, lengths, normalize=normalize, min_samples=backend.min_samples
    )
    return backend(waveforms, lengths, lengths.tolist()), backend.frame_lengths(lengths)


def check_alone_and_batched(
    backend: Any, speech: Tensor, sample_lengths: Tensor, *, tolerance: float
) -> list[int]:
    """Asserts that each utterance has its states alone and in the batch; returns the frames."""
    with torch.no_grad():
        hidden, frames = run(backend, speech, sample_lengths)
        assert torch.equal(frames, backend.frame_lengths(sample_lengths))
        for row, length in enumerate(sample_lengths.tolist()):
            alone, own = run(backend, speech[row : row + 1, :length], sample_lengths[row : row + 1])
            assert own.item() == frames[row].item() == alone.shape[2]
            torch.testing.assert_close(
                hidden[row, :, : own.item()], alone[0], rtol=tolerance, atol=tolerance
            )
            assert hidden[row, :, own.item() :].abs().sum() == 0
    return frames.tolist()
