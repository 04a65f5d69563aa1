"""Batches by hand."""

from __future__ import annotations

import math

from espnet_plugin.inference.batches import batches_by_length


def test_batches_are_bounded_with_their_padding() -> None:
    lengths = {"a": 5, "b": 10, "c": 4, "d": 10, "e": 30}
    assert batches_by_length(lengths, 20) == [["e"], ["b", "d"], ["a", "c"]]
    assert batches_by_length(lengths, 40, batch_size=2) == [["e"], ["b", "d"], ["a", "c"]]


def test_what_has_no_known_length_comes_alone() -> None:
    assert batches_by_length({0: 0.5, 1: math.inf, 2: math.inf, 3: 0.5}, 1.0) == [[1], [2], [0, 3]]
