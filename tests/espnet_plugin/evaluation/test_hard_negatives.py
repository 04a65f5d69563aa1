from __future__ import annotations

import numpy as np
import pytest

from espnet_plugin.data.hard_negatives import HardNegative
from espnet_plugin.evaluation.hard_negatives import score_hard_negatives

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


def test_images_that_are_not_in_the_set_are_ignored():
    scores = score_hard_negatives(
        np.eye(2), np.eye(2), image_of=["a", "b"], images=["a", "b"], pairs=PAIRS
    )
    assert scores == {"size": {"accuracy": 1.0, "pairs": 2, "interval": (1.0, 1.0)}}
