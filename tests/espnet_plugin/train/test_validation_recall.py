from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from espnet_plugin.train.retrieval_trainer import validation_recall

E = torch.eye(3)


def scores_of(speech, images, ids, **options):
    return validation_recall([{"image_id": ids, "image": images, "parallel": speech}], **options)


def test_collapsed_and_nan_embeddings_are_misses() -> None:
    ids = torch.arange(3)
    same = E[:1].expand(3, -1)
    # Far below what float32 resolves in a cosine: no better than equal.
    almost = normalize(same + 1e-8 * E, dim=1)
    for collapsed in (same, almost, torch.full((3, 3), torch.nan)):
        scores = scores_of(collapsed, same, ids, recall_at=(1, 2, 3))
        assert scores["recall_mean_at_1"] == scores["recall_mean_at_2"] == 0
        assert scores["recall_mean_at_3"] == 1


def test_a_nearly_tied_wrong_image_counts_before_the_right_one() -> None:
    ids = torch.arange(2)
    images = normalize(torch.tensor([[1.0, 5e-7], [1.0, 0.0]]), dim=1)
    speech = normalize(torch.tensor([[1.0, 1.0], [1.0, 1.0]]), dim=1)  # 3.5e-7 nearer to the first
    assert scores_of(speech, images, ids)["parallel_speech_to_image_recall_at_1"] == 0


def test_any_caption_is_a_hit_and_an_image_counts_once() -> None:
    speech = torch.stack([E[0], E[1], E[1]])  # the second caption of image 0 looks like image 1
    images = torch.stack([E[0], E[0], E[1]])
    scores = scores_of(speech, images, torch.tensor([7, 7, 9]), recall_at=(1, 2))
    assert scores["parallel_speech_to_image_recall_at_1"] == pytest.approx(2 / 3)
    assert scores["parallel_image_to_speech_recall_at_1"] == 0.5  # a wrong caption ties
    assert scores["parallel_recall_mean_at_1"] == pytest.approx((2 / 3 + 0.5) / 2)
    assert scores["parallel_recall_mean_at_2"] == 1


def test_as_a_sorted_matrix_says_in_any_order_and_precision() -> None:
    generator = torch.Generator().manual_seed(0)
    speech, images = (normalize(torch.randn(60, 8, generator=generator), dim=1) for _ in range(2))
    ids = torch.arange(60) // 5
    images = images[ids * 5]
    scores = scores_of(speech, images, ids)
    order = torch.randperm(60, generator=generator)
    assert scores_of(speech[order], images[order], ids[order]) == pytest.approx(scores)
    similarity = speech @ images[::5].T
    top = similarity.argsort(dim=1, descending=True)[:, :5]
    expected = (top == ids[:, None]).any(dim=1).double().mean()
    assert scores["parallel_speech_to_image_recall_at_5"] == pytest.approx(float(expected))
    half = scores_of(speech.bfloat16(), images.bfloat16(), ids)
    assert half["recall_mean_at_10"] == pytest.approx(scores["recall_mean_at_10"], abs=0.1)


def test_branches_are_averaged_over_all_batches() -> None:
    whole = {"image_id": torch.arange(3), "image": E, "parallel": E, "cascaded": E[[1, 2, 0]]}
    scores = validation_recall(
        [{name: rows[part] for name, rows in whole.items()} for part in (slice(2), slice(2, 3))]
    )
    assert scores["parallel_recall_mean_at_1"] == 1
    assert scores["cascaded_recall_mean_at_1"] == 0
    assert scores["recall_mean_at_1"] == 0.5
