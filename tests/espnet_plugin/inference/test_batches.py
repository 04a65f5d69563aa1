"""Batches by hand."""

from __future__ import annotations

import math

import pytest
from torch.utils.data import Dataset

from espnet_plugin.inference.batches import batches_by_length, encode_batches


def test_batches_are_bounded_with_their_padding() -> None:
    lengths = {"a": 5, "b": 10, "c": 4, "d": 10, "e": 30}
    assert batches_by_length(lengths, 20) == [["e"], ["b", "d"], ["a", "c"]]
    assert batches_by_length(lengths, 40, batch_size=2) == [["e"], ["b", "d"], ["a", "c"]]


def test_what_has_no_known_length_comes_alone() -> None:
    assert batches_by_length({0: 0.5, 1: math.inf, 2: math.inf, 3: 0.5}, 1.0) == [[1], [2], [0, 3]]


def test_batches_are_encoded_without_what_cannot_be_read() -> None:
    class Numbers(Dataset):
        def __getitem__(self, key: str) -> tuple[str, int | ValueError]:
            return key, int(key) if key.isdigit() else ValueError(f"{key}: no number")

    unreadable: dict[str, str] = {}

    def encode(contents: list[int]) -> list[int]:
        assert contents, "a batch without items"
        if sum(contents) > 5:
            raise MemoryError
        return [10 * number for number in contents]

    def run(batches: list[list[str]]) -> list[dict[str, int]]:
        where = {"unreadable": unreadable, "description": "numbers", "remedy": "count less"}
        return list(encode_batches(Numbers(), batches, encode, **where))

    assert run([["1", "x", "3"], ["y"], ["2"]]) == [{"1": 10, "3": 30}, {"2": 20}]
    assert unreadable == {"x": "x: no number", "y": "y: no number"}
    with pytest.raises(MemoryError, match="does not hold 4, 2 at once; count less"):
        run([["4", "z", "2"]])
