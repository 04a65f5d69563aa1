from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from espnet_plugin.train.recall import recall_both_ways, retrieval_ranks
from espnet_plugin.train.retrieval_trainer import retrieval_scores

E = torch.eye(3)


def test_ranks_by_hand() -> None:
    queries = torch.stack([E[0], normalize(E[0] + 0.1 * E[1], dim=0), E[2]])
    ids = torch.tensor([0, 1, 2])
    assert retrieval_ranks(queries, E, ids, ids).tolist() == [0, 1, 0]


def test_collapsed_and_nan_embeddings_are_misses() -> None:
    ids = torch.arange(3)
    same = E[:1].expand(3, -1)
    assert retrieval_ranks(same, same, ids, ids).tolist() == [2, 2, 2]
    assert retrieval_ranks(torch.full((3, 3), torch.nan), E, ids, ids).tolist() == [2, 2, 2]


def test_any_caption_is_a_hit_and_an_image_counts_once() -> None:
    speech = torch.stack([E[0], E[1], E[1]])  # the second caption of image 0 looks like image 1
    images = torch.stack([E[0], E[0], E[1]])
    scores = recall_both_ways(speech, images, torch.tensor([7, 7, 9]), ks=(1, 2))
    assert scores["speech_to_image_recall_at_1"] == pytest.approx(2 / 3)
    assert scores["image_to_speech_recall_at_1"] == 0.5  # a wrong caption ties with the right one
    assert scores["recall_mean_at_1"] == pytest.approx((2 / 3 + 0.5) / 2)
    assert scores["recall_mean_at_2"] == 1


def test_chunks_and_order_change_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    speech, images = (normalize(torch.randn(60, 8, generator=generator), dim=1) for _ in range(2))
    ids = torch.arange(60) // 5
    images = images[ids * 5]
    whole = recall_both_ways(speech, images, ids)
    assert recall_both_ways(speech, images, ids, chunk_size=7) == pytest.approx(whole)
    order = torch.randperm(60, generator=generator)
    assert recall_both_ways(speech[order], images[order], ids[order]) == pytest.approx(whole)
    # oracle: the whole matrix, sorted
    similarity = speech @ images[::5].T
    top = similarity.argsort(dim=1, descending=True)[:, :5]
    expected = (top == ids[:, None]).any(dim=1).double().mean()
    assert whole["speech_to_image_recall_at_5"] == pytest.approx(float(expected))


def test_branches_are_averaged() -> None:
    ids = torch.arange(3)
    scores = retrieval_scores(
        {"image_id": ids, "image": E, "parallel": E, "cascaded": E[[1, 2, 0]]}
    )
    assert scores["parallel_recall_mean_at_1"] == 1
    assert scores["cascaded_recall_mean_at_1"] == 0
    assert scores["recall_mean_at_1"] == 0.5
