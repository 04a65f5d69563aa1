from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_plugin.evaluation import retrieval
from espnet_plugin.evaluation.retrieval import rank_embeddings, rank_rows, summarize
from tests.ranks import rank_scores


def slow_ranks(scores: np.ndarray, query_ids: list, item_ids: list) -> tuple[list, list]:
    """Best rank and average precision by writing out the ordering, ties last for the relevant."""
    ranks, precisions = [], []
    for row, query in zip(scores, query_ids, strict=True):
        order = sorted(range(len(row)), key=lambda j, r=row, q=query: (-r[j], item_ids[j] == q))
        hits = [place for place, j in enumerate(order, 1) if item_ids[j] == query]
        ranks.append(hits[0])
        precisions.append(np.mean([n / place for n, place in enumerate(hits, 1)]))
    return ranks, precisions


@settings(max_examples=60, deadline=None)
@given(
    captions=st.lists(st.integers(1, 4), min_size=1, max_size=7),
    seed=st.integers(0, 1000),
    levels=st.integers(1, 12),
)
def test_ranks_equal_those_of_a_written_out_ordering(captions, seed, levels):
    rng = np.random.default_rng(seed)
    query_ids = [f"i{image}" for image, count in enumerate(captions) for _ in range(count)]
    item_ids = [f"i{image}" for image in range(len(captions))]
    scores = rng.integers(0, levels, (len(query_ids), len(item_ids))).astype(np.float32)
    forth, back = rank_scores(scores, query_ids, item_ids)
    for ours, theirs in (
        (forth, slow_ranks(scores, query_ids, item_ids)),
        (back, slow_ranks(scores.T, item_ids, query_ids)),
    ):
        np.testing.assert_array_equal(ours.rank, theirs[0])
        np.testing.assert_allclose(ours.average_precision, theirs[1])
    np.testing.assert_array_equal(back.relevant, captions)


def test_a_collapsed_model_gets_no_credit():
    same = np.full((40, 64), 0.125, dtype=np.float32)
    forth, back = rank_embeddings(same, same[:20], np.repeat(np.arange(20), 2), np.arange(20))
    assert set(forth.rank) == {20}
    assert set(back.rank) == {39}  # its two captions do not compete
    assert summarize(forth).recall == {1: 0.0, 5: 0.0, 10: 0.0}


def test_any_caption_counts_as_a_hit():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.0, 0.6]])  # captions, images
    forth, back = rank_scores(scores, [0, 0, 1, 1], [0, 1])
    assert forth.rank.tolist() == [2, 1, 1, 1]
    assert back.rank.tolist() == [1, 2]
    measures = summarize(forth, recall_at=(1, 2, 99))
    assert measures.recall == {1: 0.75, 2: 1.0, 99: 1.0}
    assert measures.median_rank == 1.0
    assert measures.mean_rank == 1.25
    assert measures.mean_reciprocal_rank == pytest.approx(0.875)
    # Image 0: its captions are 1st and 3rd; image 1: 2nd and 3rd.
    expected = ((1 / 1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2)
    assert back.average_precision.tolist() == pytest.approx(expected)


@pytest.mark.slow
def test_agrees_with_torchmetrics():
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("torchmetrics.retrieval")
    rng = np.random.default_rng(3)
    scores = rng.random((40, 12), dtype=np.float32)  # positive: it drops other relevant items
    ids = np.arange(40) % 12
    directions = rank_scores(scores, ids, np.arange(12))
    for matrix, relevant, ranks in (
        (scores, ids[:, None] == np.arange(12), directions[0]),
        (scores.T, np.arange(12)[:, None] == ids, directions[1]),
    ):
        index = torch.arange(matrix.shape[0])[:, None].expand(*matrix.shape).reshape(-1)
        flat = torch.tensor(matrix.copy()).reshape(-1), torch.tensor(relevant).reshape(-1)
        ours = summarize(ranks, recall_at=(1, 5))
        for k in (1, 5):
            theirs = metrics.RetrievalHitRate(top_k=k)(*flat, indexes=index)
            assert ours.recall[k] == pytest.approx(theirs.item(), abs=1e-6)
        theirs = metrics.RetrievalMRR()(*flat, indexes=index)
        assert ours.mean_reciprocal_rank == pytest.approx(theirs.item(), abs=1e-6)
        theirs = metrics.RetrievalMAP()(*flat, indexes=index)
        assert ours.mean_average_precision == pytest.approx(theirs.item(), abs=1e-6)


def test_bad_input_is_named():
    good = np.eye(3, dtype=np.float32)
    bad = good.copy()
    bad[1, 2] = np.nan
    with pytest.raises(ValueError, match="left holds NaN or infinity in row 1"):
        rank_embeddings(bad, good, [0, 1, 2], [0, 1, 2])
    with pytest.raises(ValueError, match="without a relevant item: 1, .* row 2 with id 7"):
        rank_embeddings(good, good, [0, 1, 7], [0, 1, 2])
    with pytest.raises(ValueError, match="ids: 2 and 3, rows: 3 and 3"):
        rank_embeddings(good, good, [0, 1], [0, 1, 2])
    with pytest.raises(ValueError, match="3 and 2 dimensions"):
        rank_embeddings(good, good[:, :2], [0, 1, 2], [0, 1, 2])
    with pytest.raises(ValueError, match="shape is"):
        rank_embeddings(good[:0], good, [], [0, 1, 2])


def test_other_speakers_are_ranked_by_hand():
    angles = np.deg2rad([0, 60, 10, 30])  # three utterances of image A, one of B
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    ranks = rank_rows(rows, ["A", "A", "A", "B"], ["x", "y", "x", "y"])
    # the first finds B before the second; the third, of its own speaker, is not searched
    assert ranks.ids.tolist() == ["A", "A", "A"]  # nobody else describes B
    assert ranks.rank.tolist() == [2, 1, 2]
    assert ranks.relevant.tolist() == [1, 2, 1] and ranks.num_items.tolist() == [2, 2, 2]
    assert ranks.average_precision.tolist() == [0.5, 1.0, 0.5]
    assert summarize(ranks, recall_at=(1, 2)).recall == pytest.approx({1: 1 / 3, 2: 1})
    assert summarize(ranks).mean_reciprocal_rank == pytest.approx(2 / 3)


def test_without_another_speaker_there_are_no_ranks():
    rows = np.eye(4, dtype=np.float32)
    assert rank_rows(rows, [0, 0, 1, 1], ["x", "x", "y", "y"]) is None
    assert rank_rows(rows, [0, 1, 2, 3], ["w", "x", "y", "z"]) is None
    assert rank_rows(rows, [0, 0, 1, 1], ["unknown"] * 4) is None
    with pytest.raises(ValueError, match="ids: 4 and 3, rows: 4 and 4"):
        rank_rows(rows, [0, 0, 1, 1], ["x", "x", "y"])


def test_a_collapsed_model_finds_no_other_speaker():
    same = np.full((6, 4), 0.5, dtype=np.float32)
    ranks = rank_rows(same, [0, 0, 1, 1, 2, 2], ["x", "y"] * 3)
    assert ranks.rank.tolist() == [3] * 6  # after both wrong ones


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=14),
    seed=st.integers(0, 1000),
)
def test_ranks_of_other_speakers_equal_those_of_a_loop(labels, seed):
    rows = np.random.default_rng(seed).integers(-2, 3, (len(labels), 2)).astype(np.float32)
    expected = []
    for row, (image, speaker) in enumerate(labels):
        searched = [other for other in range(len(labels)) if labels[other][1] != speaker]
        images = [labels[other][0] for other in searched]
        if image in images:
            scores = [[float(rows[row] @ rows[other]) for other in searched]]
            rank, precision = slow_ranks(np.array(scores), [image], images)
            expected.append((image, row, *rank, *precision, images.count(image), len(searched)))
    ranks = rank_rows(rows, [image for image, _ in labels], [speaker for _, speaker in labels])
    if ranks is None:
        assert not expected
        return
    names = ("ids", "rows", "rank", "average_precision", "relevant", "num_items")
    for name, values in zip(names, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(getattr(ranks, name), values, err_msg=name)


def test_blocks_of_searching_rows_do_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((90, 5)).astype(np.float32)
    ids, speakers = np.repeat(np.arange(30), 3), rng.integers(0, 4, 90)
    whole = rank_rows(rows, ids, speakers)
    monkeypatch.setattr(retrieval, "_BLOCK", 7)
    parts = rank_rows(rows, ids, speakers)
    np.testing.assert_array_equal(whole.rank, parts.rank)
    np.testing.assert_array_equal(whole.average_precision, parts.average_precision)
