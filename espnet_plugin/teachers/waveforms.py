"""Checks and preparation of waveforms, the same for every speech encoder."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from espnet_plugin.utils.padding import padding_mask

WAVEFORM_NORM_EPS = 1e-5


def checked_ends(speech: Tensor, sample_lengths: Tensor) -> list[int]:
    """Numbers of samples of a batch of waveforms, on the host, which waits for the device once.

    Raises:
        TypeError: If samples are integers, which
            :func:`~espnet_plugin.utils.samples.float_samples` can divide by their range.
        ValueError: If shapes or lengths do not fit, or an utterance is empty.
    """
    if not speech.is_floating_point():
        raise TypeError(f"samples are {speech.dtype}: make a batch of them with waveform_batch")
    if speech.dim() != 2:
        raise ValueError(f"speech must be (batch, samples), not {tuple(speech.shape)}")
    if sample_lengths.shape != speech.shape[:1]:
        raise ValueError(
            f"speech_lengths must be ({speech.shape[0]},), not {tuple(sample_lengths.shape)}"
        )
    if speech.shape[0] == 0:
        raise ValueError("speech is an empty batch")
    ends: list[int] = sample_lengths.tolist()
    if min(ends) < 1:
        raise ValueError("an utterance has no samples: remove it from the data")
    if max(ends) > speech.shape[1]:
        raise ValueError(f"speech_lengths end at {max(ends)}, speech at {speech.shape[1]}")
    return ends


def prepare_waveforms(
    speech: Tensor, sample_lengths: Tensor, *, normalize: bool, min_samples: int
) -> tuple[Tensor, Tensor]:
    """Cleans the padding, lengthens short utterances, and normalises each by its own samples.

    An utterance shorter than ``min_samples`` is padded with zeros, which then count as its own
    samples.

    Args:
        speech: Waveforms, (batch, longest), with anything after each utterance's end.
        sample_lengths: Numbers of samples, (batch,).
        normalize: Whether to give each utterance zero mean and unit variance (biased, eps 1e-5).
        min_samples: Number of samples in the encoder's receptive field.

    Returns:
        Waveforms (batch, max(longest, min_samples)) that are 0 after their ends, and their
        lengths (batch,), each >= min_samples.
    """
    longest = speech.shape[1]
    speech = speech.masked_fill(padding_mask(sample_lengths, longest), 0.0)
    if longest < min_samples:
        speech = F.pad(speech, (0, min_samples - longest))  # (batch, min_samples)
    sample_lengths = sample_lengths.clamp(min=min_samples)
    if normalize:
        speech = normalize_waveforms(speech, sample_lengths)
    return speech, sample_lengths


def normalize_waveforms(speech: Tensor, sample_lengths: Tensor) -> Tensor:
    """Gives each utterance's samples zero mean and unit variance (biased, eps 1e-5), in float32.

    Args:
        speech: Waveforms, (batch, samples).
        sample_lengths: Numbers of samples, (batch,); samples after an utterance's end become 0.
    """
    padding = padding_mask(sample_lengths, speech.shape[1])
    with torch.autocast(speech.device.type, enabled=False):
        speech = speech.float()
        count = sample_lengths.unsqueeze(1).to(speech.dtype)
        mean = speech.sum(dim=1, keepdim=True) / count
        centred = (speech - mean).masked_fill(padding, 0.0)
        variance = centred.square().sum(dim=1, keepdim=True) / count
        return centred * torch.rsqrt(variance + WAVEFORM_NORM_EPS)
