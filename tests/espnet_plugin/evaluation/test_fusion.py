from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from espnet_plugin.data.inference_set import InferenceSet
from espnet_plugin.evaluation.fusion import Gallery, branch_of, choose_weight, fuse, gallery_of
from espnet_plugin.utils.errors import DataError

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
    own = Gallery(IDS, IMAGES)
    assert choose_weight(a_set(IMAGES, 5 * NOISE), own) == 1.0
    assert choose_weight(a_set(5 * NOISE, IMAGES), own) < 0.5
    assert choose_weight(a_set(IMAGES, IMAGES), own) == 1.0


def test_the_weight_is_chosen_among_the_images_of_training_too(tmp_path: Path) -> None:
    """Only an image of training, c, is nearer to the embedding of a by the parallel branch."""
    a, b, c = np.eye(3, dtype=np.float32)
    parallel, cascaded = np.stack([0.6 * a + 0.8 * c, b]), np.stack([a, b])
    dev = InferenceSet(
        Path(), ("u", "v"), ("a", "b"), ("a", "b"), cascaded, parallel, cascaded, None
    )
    np.save(tmp_path / "c.npy", c)
    (tmp_path / "utt2image").write_text("x c\ny b\nz c\nskipped d\n")
    (tmp_path / "image_feat.scp").write_text(f"x {tmp_path}/c.npy\ny gone\nz {tmp_path}/c.npy\n")
    gallery = gallery_of(dev, tmp_path)
    assert gallery.images == ("a", "b", "c") and np.array_equal(gallery.embeddings, np.eye(3))
    assert choose_weight(dev, gallery_of(dev, None)) == 1.0
    assert choose_weight(dev, gallery) == 0.8  # 0.6 w + (1 - w) > 0.8 w, so w < 0.83
    np.save(tmp_path / "c.npy", np.nan * c)
    with pytest.raises(DataError, match=r"c\.npy: .*run stage 4 again"):
        gallery_of(dev, tmp_path)
    (tmp_path / "utt2image").write_text("x c\ny b\n")
    with pytest.raises(DataError, match="utt2image: no image of utterance z, .*run stages 3 and 4"):
        gallery_of(dev, tmp_path)


def test_a_weight_of_one_or_none_is_a_branch() -> None:
    assert [branch_of(weight) for weight in (0.0, 0.05, 1.0)] == ["cascaded", "both", "parallel"]
