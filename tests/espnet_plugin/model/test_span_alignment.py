"""Alignment against every division there is."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from espnet_plugin.model.cif import fire
from espnet_plugin.model.span_alignment import align, aligned_segments, state_change

ROWS = torch.arange(4)[None]  # all sub-words differ


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
    _, segments = fire(torch.full((1, 6), 0.34), max_slots=2)
    agreement = torch.tensor([[[0.9, 0.1, 0.0, 0.0, 0.0, 0.0], [0.1, 0.8, 0.8, 0.8, 0.9, 0.9]]])
    aligned = aligned_segments(
        segments, agreement, torch.zeros(1, 6), torch.tensor([6]), ROWS[:, :2]
    )
    assert segments.ends.tolist() == [[3, 6]]
    assert aligned.starts.tolist() == [[0, 1]] and aligned.ends.tolist() == [[1, 6]]
    assert aligned.fired[0].nonzero().flatten().tolist() == [0, 5]


@pytest.mark.parametrize(("rows", "meeting"), [([5, 5, 1], 2), ([5, 2, 1], 1)])
def test_a_word_and_the_same_word_again_meet_where_their_segments_do(rows, meeting):
    _, segments = fire(torch.full((1, 9), 0.34), max_slots=3)
    assert segments.starts.tolist() == [[0, 2, 5]]
    agreement = torch.tensor(
        [[[0.8] * 6 + [0.0] * 3, [0.9] * 6 + [0.0] * 3, [0.0] * 6 + [0.8] * 3]]
    )
    given = torch.zeros(1, 9), torch.tensor([9]), torch.tensor([rows])
    aligned = aligned_segments(segments, agreement, *given)
    assert aligned.ends.tolist() == [[meeting, 6, 9]]


def test_spans_meet_where_the_speech_changes_if_the_keywords_leave_it_open():
    alphas = torch.tensor([[0.9, 0.2, 0.0, 0.0, 0.9, 0.2]])
    _, segments = fire(alphas, max_slots=2)
    agreement = torch.tensor([[[0.9] * 3 + [0.1] * 3, [0.1] * 3 + [0.9] * 3]])
    change = torch.tensor([[0.0, 0.1, 0.1, 2.0, 0.1, 0.1]])
    aligned = aligned_segments(segments, agreement, change, torch.tensor([6]), ROWS[:, :2])
    assert aligned.ends.tolist() == [[3, 6]]
    # and where nothing changes, before a weight that rises
    aligned = aligned_segments(
        segments, agreement, torch.zeros(1, 6), torch.tensor([6]), ROWS[:, :2]
    )
    assert aligned.ends.tolist() == [[4, 6]]


def test_spans_end_with_the_last_segment_that_was_kept():
    # four or three segments of two frames, two of them kept: the other frames are in no keyword
    alphas = torch.full((2, 8), 0.5)
    alphas[1, 6:] = 0.0
    (_, segments), (_, whole) = (fire(alphas, max_slots=number) for number in (2, 4))
    agreement = torch.zeros(2, 4, 8)
    agreement[:, 0, :3] = agreement[:, 1, 3:] = 1.0
    lengths = torch.tensor([8, 6])
    kept = aligned_segments(
        segments, agreement[:, :2], torch.zeros(2, 8), lengths, ROWS[:, :2].expand(2, 2)
    )
    assert kept.ends.tolist() == [[3, 4], [3, 4]] and kept.starts.tolist() == [[0, 3], [0, 3]]
    assert kept.fired[0].nonzero().flatten().tolist() == [2, 3]
    rows = ROWS.expand(2, 4)
    assert aligned_segments(whole, agreement, torch.zeros(2, 8), lengths, rows).ends[0, 3] == 8


def test_the_change_of_states_is_measured_against_the_utterance():
    right, up = [1.0, 0.0], [0.0, 1.0]
    # the mean of two layers turns by a quarter once, or by a half and back; then there is padding
    turns = torch.tensor([[right, right, up, up], [right, [-1.0, 0.0], right, [9.0, 9.0]]])
    states = torch.stack([0.5 * turns, 1.5 * turns], dim=1)
    change = state_change(states, torch.tensor([4, 3]))
    # 0, 0, 1, 0 have the deviation sqrt(3) / 4; and 0, 2, 2 have sqrt(8) / 3
    assert change[0].tolist() == pytest.approx([0, 0, 4 / 3**0.5, 0], abs=1e-6)
    assert change[1, :3].tolist() == pytest.approx([0, 6 / 8**0.5, 6 / 8**0.5], abs=1e-6)


def test_more_keywords_than_frames_stay_where_they_fired():
    _, segments = fire(torch.ones(1, 2), threshold=0.5, max_slots=4)
    aligned = aligned_segments(
        segments, torch.ones(1, 4, 2), torch.zeros(1, 2), torch.tensor([2]), ROWS
    )
    assert torch.equal(aligned.starts, segments.starts)
    assert torch.equal(aligned.ends, segments.ends)
