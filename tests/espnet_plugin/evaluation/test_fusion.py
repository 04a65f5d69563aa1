from __future__ import annotations

from pathlib import Path

import numpy as np

from espnet_plugin.data.inference_set import InferenceSet
from espnet_plugin.evaluation.fusion import choose_weight, fuse

IDS = tuple(f"i{number}" for number in range(8))
IMAGES = np.eye(8, dtype=np.float32)
NOISE = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)


def a_set(parallel: np.ndarray, cascaded: np.ndarray) -> InferenceSet:
    return InferenceSet(Path(), IDS, IDS, IDS, IMAGES, parallel, cascaded, None)


def test_similarity_of_the_sum_is_the_weighted_similarity():
    first, second = NOISE, NOISE[::-1]
    fused = fuse(a_set(first, second), 0.25) @ IMAGES.T
    np.testing.assert_allclose(fused, 0.25 * first @ IMAGES.T + 0.75 * second @ IMAGES.T, rtol=1e-6)


def test_the_better_branch_gets_the_weight_and_parallel_where_it_does_not_matter():
    assert choose_weight(a_set(IMAGES, 5 * NOISE)) == 1.0
    assert choose_weight(a_set(5 * NOISE, IMAGES)) < 0.5
    assert choose_weight(a_set(IMAGES, IMAGES)) == 1.0
