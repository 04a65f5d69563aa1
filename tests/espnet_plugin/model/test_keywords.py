"""Runs of equal neighbours against itertools.groupby, and words that are said again."""

from __future__ import annotations

from itertools import groupby

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_plugin.model.cif import fire
from espnet_plugin.model.keywords import (
    find_runs,
    merge_quantized,
    merge_segments,
    times_again,
    unsaid,
)
from espnet_plugin.model.quantizer import TokenQuantizer

BLANK = 2
utterances = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=7), min_size=1, max_size=4)


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, rows))
    return (
        torch.tensor([row + [row[-1]] * (longest - len(row)) for row in rows]),
        torch.tensor([len(row) for row in rows]),
    )


NO_BLANKS = torch.tensor([[False, False, False]])


@settings(deadline=None)
@given(utterances)
def test_runs_and_their_means_are_those_of_groupby(rows):
    chosen, lengths = padded(rows)
    values = torch.randn(*chosen.shape, 2)
    runs = find_runs(chosen, lengths, chosen == BLANK)
    means = runs.mean(values)
    for row, said in enumerate(rows):
        kept = [place for place, name in enumerate(said) if name != BLANK]
        groups = [list(members) for _, members in groupby(kept, key=said.__getitem__)]
        assert runs.lengths[row] == len(groups)
        for mean, members in zip(means[row], groups, strict=False):
            torch.testing.assert_close(mean, values[row, members].mean(dim=0))
        assert not means[row, len(groups) :].any()


@settings(deadline=None)
@given(utterances, st.randoms(use_true_random=False))
def test_a_blank_among_equal_neighbours_is_said_with_them(rows, random):
    chosen, lengths = padded(rows)
    blank = torch.tensor([[random.random() < 0.5 for _ in row] for row in chosen])
    left_out = unsaid(chosen, lengths, blank)
    for row, said in enumerate(rows):
        for _, members in groupby(range(len(said)), key=said.__getitem__):
            members = list(members)
            assert left_out[row, members].tolist() == [bool(blank[row, members].all())] * len(
                members
            )


def test_a_run_ends_where_its_sounds_come_again():
    _, segments = fire(torch.full((1, 60), 0.1), max_slots=6)  # of ten frames
    rows = torch.tensor([[4, 4, 4, 4, 7, 7]])
    runs = find_runs(rows, segments.lengths, torch.zeros(1, 6, dtype=torch.bool))
    word, other = torch.randn(2, 20, 16, generator=torch.Generator().manual_seed(0))
    for sounds, said in (((word, word, other), 3), ((word, other, other.flip(0)), 2)):
        again = times_again(runs, segments, torch.cat(sounds)[None], torch.tensor([60]), least=0.35)
        found = find_runs(rows, segments.lengths, torch.zeros(1, 6, dtype=torch.bool), again)
        assert found.lengths.tolist() == [said]


def test_the_middle_of_a_segment_says_after_which_sound_it_comes():
    """Frames 0 to 13 come again as 20 to 33: frames from 17 on come after."""
    _, segments = fire(torch.ones(1, 36), threshold=12.0, max_slots=3)
    runs = find_runs(torch.tensor([[4, 4, 4]]), segments.lengths, NO_BLANKS)
    sounds = torch.eye(22)[[*range(20), *range(14), 20, 21]][None]
    again = times_again(runs, segments, sounds, torch.tensor([36]), least=0.35)
    assert again.tolist() == [[0, 1, 1]]


def test_spans_are_joined_and_the_run_fires_at_its_end():
    _, segments = fire(torch.full((1, 6), 0.5), max_slots=3)  # of two frames
    runs = find_runs(torch.tensor([[4, 4, 7]]), segments.lengths, NO_BLANKS)
    merged = merge_segments(segments, runs)
    assert merged.lengths.tolist() == [2]
    assert merged.starts.tolist() == [[0, 4, 0]] and merged.ends.tolist() == [[4, 6, 0]]
    assert merged.fired[0].nonzero().flatten().tolist() == [3, 5]
    torch.testing.assert_close(merged.alpha_sum, segments.alpha_sum)


@pytest.mark.parametrize("hard", [True, False])
def test_a_run_keeps_its_row_and_each_member_gets_its_share_of_the_gradient(hard):
    table = torch.eye(4)
    keywords = torch.tensor([[[5.0, 1, 0, 9], [4, 0, 2, 9], [0, 1, 3, 9]]], requires_grad=True)
    quantizer = TokenQuantizer(hard=hard).train()
    forbidden = torch.tensor([False, False, False, True])
    quantized = quantizer(keywords, table, forbidden=forbidden)
    merged = merge_quantized(quantized, find_runs(quantized.rows, torch.tensor([3]), NO_BLANKS))
    assert merged.rows[:, :2].tolist() == [[0, 2]]
    assert merged.similarities[:, :2].argmax(dim=-1).tolist() == [[0, 2]]
    assert merged.similarities[..., 3].isneginf().all()
    by_hand = torch.stack([quantized.embeddings[:, :2].mean(dim=1), quantized.embeddings[:, 2]], 1)
    torch.testing.assert_close(merged.embeddings[:, :2], by_hand)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    (gradient,) = torch.autograd.grad(
        (merged.embeddings[:, :2] * weights).sum(), keywords, retain_graph=True
    )
    (expected,) = torch.autograd.grad((by_hand * weights).sum(), keywords)
    torch.testing.assert_close(gradient, expected)
    assert gradient.isfinite().all()
