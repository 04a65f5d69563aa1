from __future__ import annotations

import pytest

from espnet_plugin.data.inference_set import read_inference_set
from espnet_plugin.evaluation.retrieval import rank_embeddings, summarize
from espnet_plugin.evaluation.scores.retrieval import rank_set, retrieval_scores


def test_report_holds_every_direction(inference_dir):
    data = read_inference_set(inference_dir / "test")
    ranks = rank_set(data, fusion_weight=0.5)
    report = retrieval_scores(data, ranks, recall_at=(1, 5))
    speech = {"speech_to_image", "image_to_speech", "speech_to_text", "text_to_speech"}
    for system in ("parallel", "cascaded", "fusion"):
        assert set(report[system]) == speech
    assert set(report["teacher"]) == {"text_to_image", "image_to_text"}
    assert set(report["chance"]) == speech | set(report["teacher"])
    assert report["chance"]["speech_to_image"]["recall@1"] == pytest.approx(1 / 6)
    assert report["chance"]["image_to_speech"]["recall@1"] == pytest.approx(2 / 12)
    forth, _ = rank_embeddings(data.parallel, data.image, data.image_of, data.images)
    expected = summarize(forth, recall_at=(1, 5)).recall[1]
    assert report["parallel"]["speech_to_image"]["recall@1"] == expected
    lower, upper = report["intervals"]["parallel"]["speech_to_image"]["recall@1"]
    assert 0 <= lower <= expected <= upper <= 1
    assert (report["images"], report["utterances"]) == (6, 12)


def test_one_branch_alone(inference_dir):
    (inference_dir / "test" / "speech_cascaded.npy").unlink()
    (inference_dir / "test" / "text.npy").unlink()
    data = read_inference_set(inference_dir / "test")
    assert set(rank_set(data, fusion_weight=0.5)) == {"parallel"}
    (inference_dir / "test" / "speech_parallel.npy").unlink()
    with pytest.raises(ValueError, match="neither speech nor text"):
        rank_set(read_inference_set(inference_dir / "test"))
