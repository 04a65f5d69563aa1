from __future__ import annotations

import numpy as np
import pytest

from espnet_plugin.evaluation.fusion import choose_weight, fuse


def test_fused_scores_are_the_weighted_sum_of_cosines():
    rng = np.random.default_rng(0)
    first, second, images = (rng.standard_normal((4, 3)).astype(np.float32) for _ in range(3))
    fused = fuse(first, second, 0.25) @ images.T
    expected = 0.25 * first @ images.T + 0.75 * second @ images.T
    np.testing.assert_allclose(fused, expected, atol=1e-5)


def test_chooses_the_branch_that_works():
    rng = np.random.default_rng(0)
    images = rng.standard_normal((30, 16)).astype(np.float32)
    noise = rng.standard_normal((30, 16)).astype(np.float32)
    ids = np.arange(30)
    assert choose_weight(images, 5 * noise, images, ids, ids)[0] == 1.0
    weight, recall = choose_weight(5 * noise, images, images, ids, ids, weights=(0.0, 1.0))
    assert (weight, recall) == (0.0, 1.0)


def test_bad_input():
    with pytest.raises(ValueError, match="branches of shapes"):
        fuse(np.ones((2, 3)), np.ones((3, 3)), 0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        fuse(np.ones((2, 3)), np.ones((2, 3)), 1.5)
