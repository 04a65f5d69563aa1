from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from espnet_plugin.speechclip.padding import split_by_length


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
