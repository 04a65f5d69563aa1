from __future__ import annotations

import pytest

from espnet_plugin.data.hard_negatives import (
    HardNegative,
    families,
    read_hard_negatives,
    write_hard_negatives,
)
from espnet_plugin.data.scp import DataError

PAIRS = [HardNegative("a", "b", "size"), HardNegative("b", "a", "size"),
         HardNegative("a", "c", "thing"), HardNegative("c", "a", "thing")]  # fmt: skip


def test_families():
    assert families([*PAIRS, HardNegative("d", "e", "size")]) == {
        "a": "a", "b": "a", "c": "a", "d": "d", "e": "d",
    }  # fmt: skip
    joined = [HardNegative("a", "b", "x"), HardNegative("d", "c", "x"), HardNegative("c", "b", "x")]
    assert len(set(families(joined).values())) == 1


def test_the_table_comes_back(tmp_path):
    path = tmp_path / "hard_negatives.tsv"
    write_hard_negatives(path, PAIRS)
    assert read_hard_negatives(path) == PAIRS
    write_hard_negatives(path, [])  # another corpus in its place
    assert not path.exists()
    path.write_text("image\tnegative\tkind\na\tb\n")
    with pytest.raises(DataError, match=":2: expected image, negative and kind"):
        read_hard_negatives(path)
    path.write_text("a\tb\tsize\n")
    with pytest.raises(DataError, match=":1: expected the header"):
        read_hard_negatives(path)
