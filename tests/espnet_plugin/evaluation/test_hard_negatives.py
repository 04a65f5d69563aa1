from __future__ import annotations

import numpy as np
import pytest

from espnet_plugin.data.scp import DataError
from espnet_plugin.evaluation.hard_negatives import (
    HardNegative,
    families,
    read_hard_negatives,
    score_hard_negatives,
    write_hard_negatives,
)

PAIRS = [HardNegative("a", "b", "size"), HardNegative("b", "a", "size"),
         HardNegative("a", "c", "thing"), HardNegative("c", "a", "thing")]  # fmt: skip


def test_shares_by_hand():
    image = np.eye(3)[[0, 1, 2]]  # a, b, c
    queries = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.5], [1.0, 0.0, 0.0], [0.2, 0.0, 0.2]])
    scores = score_hard_negatives(
        queries, image, image_of=["a", "a", "b", "c"], images=["a", "b", "c"], pairs=PAIRS
    )
    # size: a right, a wrong (its b is nearer), b wrong; thing: a right, a wrong, c ties
    assert scores["size"]["accuracy"] == pytest.approx(1 / 3) and scores["size"]["pairs"] == 3
    assert scores["thing"]["accuracy"] == pytest.approx((1 + 0 + 0.5) / 3)
    assert scores["size"]["interval"] == pytest.approx((1 / 3, 1 / 3))  # one family


def test_pictures_that_are_not_in_the_set_are_passed_over():
    scores = score_hard_negatives(
        np.eye(2), np.eye(2), image_of=["a", "b"], images=["a", "b"], pairs=PAIRS, samples=0
    )
    assert scores == {"size": {"accuracy": 1.0, "pairs": 2}}


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
