"""Alignment against every division there is."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from espnet_plugin.speechclip.cif import integrate_and_fire
from espnet_plugin.speechclip.span_alignment import align, aligned_segments


def best_by_trying(scores: list[list[float]], meetings: list[float]) -> tuple[int, ...]:
    keywords, frames = len(scores), len(scores[0])

    def total(ends: tuple[int, ...]) -> float:
        starts = (0, *ends[:-1])
        said = sum(
            sum(row[start:end]) for row, start, end in zip(scores, starts, ends, strict=True)
        )
        return said + sum(meetings[start] for start in starts[1:])

    divisions = [(*inner, frames) for inner in combinations(range(1, frames), keywords - 1)]
    return max(divisions, key=total)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_best_of_all_divisions(seed):
    generator = torch.Generator().manual_seed(seed)
    scores, meetings = (
        torch.randn(3, 4, 7, generator=generator),
        torch.randn(3, 7, generator=generator),
    )
    frames, keywords = torch.tensor([7, 6, 4]), torch.tensor([4, 1, 2])
    ends = align(scores, meetings, frames, keywords)
    for row in range(3):
        number = int(keywords[row])
        said = scores[row, :number, : frames[row]].tolist()
        assert tuple(ends[row, :number].tolist()) == best_by_trying(said, meetings[row].tolist())
        assert not ends[row, number:].any()


def test_spans_meet_where_the_agreement_changes():
    segments = integrate_and_fire(torch.randn(1, 6, 2), torch.full((1, 6), 0.34))  # 2 slots
    agreement = torch.tensor([[[0.9, 0.1, 0.0, 0.0, 0.0, 0.0], [0.1, 0.8, 0.8, 0.8, 0.9, 0.9]]])
    aligned = aligned_segments(segments, agreement, torch.tensor([6]))
    assert segments.ends.tolist() == [[3, 6]]
    assert aligned.starts.tolist() == [[0, 1]] and aligned.ends.tolist() == [[1, 6]]
    assert aligned.fired[0].nonzero().flatten().tolist() == [0, 5]


def test_spans_meet_where_a_weight_rises_if_the_keywords_leave_it_open():
    alphas = torch.tensor([[0.9, 0.2, 0.0, 0.0, 0.9, 0.2]])
    segments = integrate_and_fire(torch.randn(1, 6, 2), alphas)
    agreement = torch.tensor([[[0.9] * 3 + [0.1] * 3, [0.1] * 3 + [0.9] * 3]])
    aligned = aligned_segments(segments, agreement, torch.tensor([6]))
    assert aligned.ends.tolist() == [[4, 6]]


def test_more_keywords_than_frames_stay_where_they_fired():
    segments = integrate_and_fire(torch.randn(1, 2, 2), torch.ones(1, 2), threshold=0.5)  # 4 slots
    aligned = aligned_segments(segments, torch.ones(1, 4, 2), torch.tensor([2]))
    assert torch.equal(aligned.starts, segments.starts)
    assert torch.equal(aligned.ends, segments.ends)
