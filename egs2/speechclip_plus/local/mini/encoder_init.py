"""A convolutional front end that starts as a filter bank, which saves many updates."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from transformers.audio_utils import hertz_to_mel, mel_to_hertz

from .units import MEL_RANGE

_BANDS = 40
_PHASES = 4
_SAMPLING_RATE = 16000.0


@torch.no_grad()
def initialise_front_end(model: nn.Module) -> None:
    """Set the first three convolutions of a HubertModel.

    The first becomes Gabor filters, ``_BANDS`` mel-spaced centres with ``_PHASES`` phases each; of
    the second and third a part of the channels averages (over phases and time) or takes the
    difference in time of a band's energy. Everything stays trainable.

    Args:
        model: HubertModel whose convolutions have 160, ≥ 80 and ≥ 80 channels.
    """
    first, second, third = (layer.conv for layer in model.feature_extractor.conv_layers)
    first.weight.copy_(gabor_filters(first.weight.shape[-1])[:, None, :])
    first.bias.zero_()
    taps = second.weight.shape[-1]
    early_late = torch.sign(torch.arange(taps) - (taps - 1) / 2)
    for band in range(_BANDS):
        channels = slice(band * _PHASES, (band + 1) * _PHASES)
        second.weight[band].zero_()
        second.weight[band, channels] = 1.0 / (_PHASES * taps)
        second.weight[_BANDS + band].zero_()
        second.weight[_BANDS + band, channels] = early_late / (_PHASES * taps)
        third.weight[band].zero_()
        third.weight[band, band] = 1.0 / taps
        third.weight[_BANDS + band].zero_()
        third.weight[_BANDS + band, band] = early_late / taps
    for conv in (second, third):
        conv.bias.zero_()
        conv.weight[: 2 * _BANDS] *= math.sqrt(_PHASES)


def gabor_filters(length: int) -> torch.Tensor:
    """Return unit-norm filters (bands · phases, length), higher bands with shorter windows."""
    time = (np.arange(length) - (length - 1) / 2) / _SAMPLING_RATE
    rows = []
    lowest, highest = (hertz_to_mel(hertz, "kaldi") for hertz in MEL_RANGE)
    centres = mel_to_hertz(np.linspace(lowest, highest, _BANDS + 2)[1:-1], "kaldi")
    widths = np.gradient(centres)
    for centre, width in zip(centres, widths, strict=True):
        sigma = min(length / 5.0 / _SAMPLING_RATE, 0.45 / width)
        window = np.exp(-0.5 * (time / sigma) ** 2)
        for phase in range(_PHASES):
            row = window * np.cos(2 * np.pi * centre * time + phase * np.pi / 2)
            row -= window * row.sum() / window.sum()
            rows.append(row / np.linalg.norm(row))
    return torch.from_numpy(np.stack(rows)).float()
