"""Blank segments: an expectation against all outcomes, and the text that they leave."""

from __future__ import annotations

import itertools

import pytest
import torch

from espnet_plugin.model.blank import Blank, choose_blanks, expected_reading
from espnet_plugin.model.keywords import find_runs


def test_the_expectation_is_that_over_all_outcomes():
    draw = torch.Generator().manual_seed(0)
    p = torch.rand(1, 3, 2, generator=draw)
    p = p / p.sum(dim=2, keepdim=True)
    blank = torch.rand(1, 3, generator=draw)
    expected = torch.zeros(3, 2)
    for outcome in itertools.product((None, 0, 1), repeat=3):
        chance = 1.0
        for n, row in enumerate(outcome):
            beta = float(blank[0, n])
            chance *= beta if row is None else (1 - beta) * float(p[0, n, row])
        for n, row in enumerate(outcome):
            if row is not None and (n == 0 or outcome[n - 1] != row):
                expected[n, row] += chance
    table = torch.randn(2, 4, generator=draw)
    reading = expected_reading(p, table, blank, torch.tensor([3]))
    torch.testing.assert_close(reading.kept[0], expected.sum(dim=1))
    torch.testing.assert_close(reading.kept[0, :, None] * reading.embeddings[0], expected @ table)


def test_gradients_are_those_of_the_formula():
    draw = torch.Generator().manual_seed(1)
    options = {"dtype": torch.float64, "generator": draw}
    p = torch.rand(2, 4, 3, **options).softmax(dim=2).requires_grad_()
    blank = torch.rand(2, 4, **options).requires_grad_()
    table, lengths = torch.randn(3, 2, **options), torch.tensor([4, 2])

    def read(p, blank):
        reading = expected_reading(p, table, blank, lengths)
        return reading.kept, reading.embeddings

    assert torch.autograd.gradcheck(read, (p, blank))


def test_certain_segments_are_read_as_ctc_reads():
    rows = torch.tensor([[0, 0, 1, 0, 0, 1], [1, 1, 1, 0, 0, 0]])
    blank = torch.tensor([[0, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0]])
    p = torch.nn.functional.one_hot(rows, 2).float()
    reading = expected_reading(p, torch.eye(2), blank.float(), torch.tensor([6, 4]))
    kept = [[1, 0, 1, 1, 0, 1], [1, 0, 1, 1, 0, 0]]  # "1 blank 1" is said twice; two are padding
    torch.testing.assert_close(reading.kept, torch.tensor(kept).float(), atol=1e-5, rtol=0)
    blank = blank.bool()
    runs = find_runs(rows, torch.tensor([6, 4]), blank, blank.long().cumsum(dim=1))
    assert runs.lengths.tolist() == [4, 3]
    assert [row.nonzero().flatten().tolist() for row in runs.weights[1]][:3] == [[0], [2], [3]]


def test_something_is_always_said():
    blank = torch.tensor([[0.9, 0.7, 0.1], [0.6, 0.2, 0.5]])
    assert choose_blanks(blank, torch.tensor([2, 3])).tolist() == [
        [True, False, True],  # the least blank of two; padding
        [True, False, False],
    ]


def test_a_new_blank_hardly_cuts_in():
    blank = Blank(4)
    assert blank(torch.randn(2, 3, 4)).flatten().tolist() == pytest.approx([0.1192] * 6, abs=1e-4)
    assert blank(torch.randn(1, 1, 4), 0.2).item() == pytest.approx(4.54e-5, rel=1e-2)  # sharper
