from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from espnet_plugin.utils.padding import mask_spans, padding_mask, split_by_length


def test_a_mask_is_true_behind_the_last_valid_position() -> None:
    assert padding_mask(torch.tensor([2, 0, 3])).tolist() == [
        [False, False, True],
        [True, True, True],
        [False, False, False],
    ]


@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    number=st.integers(1, 3),
    longest=st.integers(1, 5),
)
def test_masked_spans_are_few_short_and_in_the_utterance(lengths, number, longest) -> None:
    ends = torch.tensor(lengths)
    masked = mask_spans(torch.ones(len(lengths), 20, 2), ends, number=number, longest=longest)
    assert torch.equal(masked[..., 0], masked[..., 1])
    for row, end in zip(masked[..., 0], lengths, strict=True):
        hidden, most = row[:end] == 0, min(longest, end // (number + 1))
        assert min(1, most) <= hidden.sum() <= number * most < end
        runs = torch.cat([hidden[:1], hidden[1:] & ~hidden[:-1]]).sum()
        assert runs <= number
        assert (row[end:] == 1).all()


def test_spans_are_drawn_anew_and_anywhere() -> None:
    torch.manual_seed(0)
    ones = torch.ones(400, 10, 1)
    masked = mask_spans(ones, torch.full((400,), 10), number=1, longest=1)[..., 0] == 0
    counts = masked.sum(dim=0)
    assert counts.sum() == 400 and counts.min() > 20


def test_a_small_batch_stays_as_it_is() -> None:
    assert split_by_length(torch.tensor([2, 5, 3]), [2, 5, 3], limit=15) == (None, [[2, 5, 3]])


def test_a_large_batch_by_hand() -> None:
    order, parts = split_by_length(torch.tensor([2, 5, 3, 5]), [2, 5, 3, 5], limit=10)
    assert parts == [[5, 5], [3, 2]]
    assert (
        order is not None and sorted(order[:2].tolist()) == [1, 3] and order[2:].tolist() == [2, 0]
    )


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 30))
def test_parts_hold_every_row_once_and_are_no_larger_than_allowed(lengths, limit) -> None:
    order, parts = split_by_length(torch.tensor(lengths), lengths, limit=limit)
    rows = list(range(len(lengths))) if order is None else order.tolist()
    assert sorted(rows) == list(range(len(lengths)))
    assert [lengths[row] for row in rows] == [end for part in parts for end in part]
    assert all(
        len(part) * part[0] <= limit or len(part) == 1 for part in parts if order is not None
    )
