"""Where a word is said once more: there, the speech sounds as it did a moment before.

Neighbouring segments that choose the same sub-word are one word, or the word said twice, with or
without a pause. The speech tells them apart: a word that is said twice has the same sounds twice,
in the same order.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from espnet_plugin.utils.padding import padding_mask

# Chosen on digits' dev set, in frames of 20 ms
WINDOW = 14  # frames that come again
SHORTEST, LONGEST = 12, 75  # frames from a sound to when it comes again
BESIDE = 6  # frames by which the lag is changed for comparison
_BLOCK = 128  # frames that are compared at once with those after them


def said_again(sounds: Tensor, frame_lengths: Tensor, stretches: Tensor, *, least: float) -> Tensor:
    r"""Divides stretches of speech where their sounds come again.

    :math:`x_t` is the sound of frame t, minus the utterance's mean, of length 1. The sounds at t
    come again after a lag L by

    .. math:: r_{tL} = a_{tL} - \max(a_{t,L-6}, a_{t,L+6}), \qquad
       a_{tL} = \frac{1}{14} \sum_{k < 14} x_{t+k} \cdot x_{t+k+L}

    A pause or a vowel is like itself after any lag. What is said again is most alike after one. If
    the largest :math:`r_{tL}` of a stretch is above ``least``, the stretch is divided in the middle
    between the two windows. Its parts are treated likewise.

    Args:
        sounds: The speech encoder's hidden states, mean over the layers, (batch, frames, dim).
        frame_lengths: Number of frames, (batch,).
        stretches: Number of each frame's stretch, not decreasing, (batch, frames).
        least: Value of r from which sounds come again. Speech encoders differ: choose it on dev.

    Returns:
        Such numbers for the parts, (batch, frames).
    """
    frames = stretches.size(1)
    if frames < SHORTEST + WINDOW:
        return stretches
    scores = recurrence(sounds, frame_lengths)  # (batch, first frames, lags)
    place = torch.arange(frames, device=scores.device)
    first = place[: scores.size(1), None]  # (first frames, 1)
    lags = SHORTEST + torch.arange(scores.size(2), device=scores.device)
    last = (first + lags + WINDOW - 1).clamp(max=frames - 1)  # (first frames, lags)
    middle = (first + (lags + WINDOW) // 2).flatten()
    while True:
        within = stretches[:, first] == stretches[:, last]  # (batch, first frames, lags)
        best, where = scores.masked_fill(~within, -torch.inf).flatten(1).max(dim=1)  # (batch,)
        divided = best > least
        if not divided.any():
            return stretches
        behind = place >= middle[where][:, None]  # (batch, frames)
        stretches = stretches + (behind & divided[:, None])


def recurrence(sounds: Tensor, frame_lengths: Tensor) -> Tensor:
    """The r of :func:`said_again`, minus infinity where the later window ends after the speech.

    Args:
        sounds: The speech encoder's hidden states, mean over the layers, (batch, frames, dim).
        frame_lengths: Number of frames, (batch,); at least one has ``SHORTEST + WINDOW``.

    Returns:
        (batch, first frames, lags), float32; lags start with ``SHORTEST``.
    """
    padding = padding_mask(frame_lengths, sounds.size(1))[:, :, None]
    sounds = sounds.masked_fill(padding, 0.0)
    centre = sounds.sum(dim=1, keepdim=True) / frame_lengths[:, None, None]
    x = F.normalize(sounds - centre, dim=-1).masked_fill(padding, 0.0)
    frames = x.size(1)
    longest = min(LONGEST, frames - WINDOW)
    alike = _alike(x, SHORTEST - BESIDE, longest + BESIDE).transpose(1, 2)
    # (batch, lags, first frames)
    windows = F.avg_pool1d(alike, WINDOW, stride=1)[..., : frames - SHORTEST - WINDOW + 1]
    beside = torch.maximum(windows[:, : -2 * BESIDE], windows[:, 2 * BESIDE :])
    scores = (windows[:, BESIDE:-BESIDE] - beside).transpose(1, 2)
    lags = torch.arange(SHORTEST, longest + 1, device=x.device)
    ends = torch.arange(scores.size(1), device=x.device)[:, None] + lags + WINDOW
    return scores.masked_fill(ends > frame_lengths[:, None, None], -torch.inf)


def _alike(x: Tensor, shortest: int, longest: int) -> Tensor:
    """Product of each frame with those ``shortest`` to ``longest`` after it, 0 beyond the end.

    Args:
        x: Frames, (batch, frames, dim).
        shortest, longest: Numbers of frames.

    Returns:
        (batch, frames, lags).
    """
    frames = x.size(1)
    blocks = -(-frames // _BLOCK)
    padded = F.pad(x, (0, 0, 0, blocks * _BLOCK + longest - frames))
    first = padded[:, : blocks * _BLOCK].unflatten(1, (blocks, _BLOCK))
    later = padded.unfold(1, _BLOCK + longest, _BLOCK)  # (batch, blocks, dim, later frames)
    products = first @ later  # (batch, blocks, first frames, later frames)
    lags = torch.arange(shortest, longest + 1, device=x.device)
    columns = torch.arange(_BLOCK, device=x.device)[:, None] + lags  # (first frames, lags)
    band = products.gather(3, columns.expand(*products.shape[:2], -1, -1))
    return band.flatten(1, 2)[:, :frames]
