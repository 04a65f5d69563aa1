"""Times of keywords from the frames that agree with them, not from when CIF fires.

CIF completes a segment when it has enough weight, at any place in a word. A keyword's vector does
not change if its segment moves within silence. So the edges are loose. But a keyword's vector is
the weighted sum of its frames' vectors, so frames agree with their keyword. And where one word ends
and another begins, the speech encoder's states change and the weight rises.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from espnet_plugin.model.cif import CifOutput, fired_frames
from espnet_plugin.utils.device import widest
from espnet_plugin.utils.padding import padding_mask

# chosen on mini's dev set; half or twice of either gave the same within a point
CHANGE, RISE = 0.03, 0.05
FORBIDDEN = 1e4  # what the score of a frame loses in a keyword that it must not be in


def align(
    scores: Tensor, meetings: Tensor, frame_lengths: Tensor, keyword_lengths: Tensor
) -> Tensor:
    r"""The best monotonic division of frames among keywords.

    Of all ends :math:`0 = e_0 < e_1 < \dots < e_N = T` those with the largest
    :math:`\sum_n \sum_{e_{n-1} \le t < e_n} s_{nt} + \sum_{n < N} m_{e_n}`, by dynamic
    programming over the keywords.

    Args:
        scores: Fit of a frame to a keyword, (batch, keywords, frames).
        meetings: Score for a keyword after the first to start at a frame, (batch, frames).
        frame_lengths: Number of frames, (batch,), at least as many as keywords.
        keyword_lengths: Number of keywords, at least one, (batch,).

    Returns:
        One past each keyword's last frame, zero beyond the last keyword, (batch, keywords).
    """
    batch, keywords, frames = scores.shape
    # of the frames before each end, (batch, keywords, frames + 1)
    sums = F.pad(widest(scores).cumsum(dim=2), (1, 0))
    best = sums[:, 0].clone()  # (batch, frames + 1)
    best[:, 0] = -torch.inf
    meetings = F.pad(widest(meetings), (0, 1))  # (batch, frames + 1)
    starts = [torch.zeros_like(best, dtype=torch.long)]
    for keyword in range(1, keywords):
        gain, start = (best - sums[:, keyword] + meetings).cummax(dim=1)  # (batch, frames + 1)
        best = torch.full_like(best, -torch.inf)
        best[:, 1:] = gain[:, :-1] + sums[:, keyword, 1:]
        starts.append(F.pad(start[:, :-1], (1, 0)))
    ends = scores.new_zeros(batch, keywords, dtype=torch.long)
    end = frame_lengths
    for keyword in range(keywords - 1, -1, -1):
        spoken = keyword < keyword_lengths  # (batch,)
        ends[:, keyword] = torch.where(spoken, end, 0)
        start = starts[keyword].gather(1, end[:, None])[:, 0]
        end = torch.where(spoken, start, end)
    return ends


def state_change(hidden_states: Tensor, frame_lengths: Tensor) -> Tensor:
    """Difference of each frame from the one before, in standard deviations of the utterance.

    This is one minus the cosine of the two frames' mean hidden states, over its deviation.

    Args:
        hidden_states: The speech encoder's hidden states, (batch, layers, frames, dim).
        frame_lengths: Number of frames, (batch,).

    Returns:
        (batch, frames); 0 at the first frame, anything at padding.
    """
    mean = hidden_states.float().mean(dim=1)  # (batch, frames, dim)
    change = F.pad(1 - F.cosine_similarity(mean[:, 1:], mean[:, :-1], dim=-1), (1, 0))
    valid = ~padding_mask(frame_lengths, change.size(1))  # (batch, frames)
    number = frame_lengths[:, None]  # (batch, 1)
    centre = (change * valid).sum(dim=1, keepdim=True) / number
    deviation = (((change - centre) * valid).square().sum(dim=1, keepdim=True) / number).sqrt()
    return change / deviation.clamp(min=1e-8)


def _beyond_a_repeat(segments: CifOutput, rows: Tensor) -> Tensor:
    """True at frames on the other side of where a keyword and its repeat meet, (batch, keywords,
    frames)."""
    again = F.pad(rows[:, 1:] == rows[:, :-1], (1, 0))  # (batch, keywords)
    again = (again & ~padding_mask(segments.lengths, rows.size(1)))[:, :, None]
    frames = torch.arange(segments.alphas.size(1), device=rows.device)
    before = frames < segments.starts[:, :, None]  # (batch, keywords, frames)
    after = ~before[:, 1:] & again[:, 1:]
    return (before & again) | F.pad(after, (0, 0, 0, 1))


def aligned_segments(
    segments: CifOutput, agreement: Tensor, change: Tensor, frame_lengths: Tensor, rows: Tensor
) -> CifOutput:
    r"""Moves the spans of segments to the frames that agree with their keywords.

    With CIF's weights :math:`\alpha_t`, the agreement :math:`g_{nt}` of frame :math:`t` with
    keyword :math:`n` and the change :math:`d_t` of the speech, :func:`align` is given

    .. math:: s_{nt} = \alpha_t g_{nt}, \qquad m_t = 0.03 \, d_t + 0.05 \, (\alpha_t - \alpha_{t-1})

    so two keywords meet where the agreement changes from one to the other, preferably where the
    speech itself changes and a weight rises. Frames agree as much with a word as with the same word
    said again. So two neighbours with one sub-word meet where their segments do.

    The last span ends with the utterance. If segments were dropped, it keeps its own end, because
    the speech after it is in no keyword. An utterance with fewer frames than keywords (a threshold
    below 1) keeps its spans.

    Args:
        segments: Segments that CIF found, with its weights.
        agreement: Cosine of each frame with each keyword's sub-word, (batch, keywords, frames).
        change: Change of the speech at each frame, see :func:`state_change`, (batch, frames).
        frame_lengths: Number of frames, (batch,).
        rows: Sub-word of each keyword, (batch, keywords).
    """
    alphas = segments.alphas  # (batch, frames)
    scores = agreement * alphas[:, None]  # (batch, keywords, frames)
    scores = scores - FORBIDDEN * _beyond_a_repeat(segments, rows)
    meetings = CHANGE * change + RISE * F.pad(alphas.diff(dim=1), (1, 0))  # (batch, frames)
    last = segments.ends.gather(1, segments.lengths[:, None] - 1)[:, 0]  # (batch,)
    heard = torch.where(segments.dropped > 0, last, frame_lengths)  # (batch,)
    ends = align(scores, meetings, heard, segments.lengths)
    valid = ~padding_mask(segments.lengths, ends.size(1))
    starts = F.pad(ends[:, :-1], (1, 0)).where(valid, 0)
    enough = (heard >= segments.lengths)[:, None]  # (batch, 1)
    starts, ends = starts.where(enough, segments.starts), ends.where(enough, segments.ends)
    fired = fired_frames(ends, valid, segments.fired.size(1))
    return replace(segments, starts=starts, ends=ends, fired=fired)
