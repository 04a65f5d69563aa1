from __future__ import annotations

import numpy as np

from espnet_plugin.data.inference_set import InferenceSet, read_inference_set
from espnet_plugin.evaluation.queries import choose_examples
from espnet_plugin.evaluation.retrieval import RetrievalRanks, rank_embeddings
from tests.espnet_plugin.evaluation.conftest import write_set


def write(directory, speech: np.ndarray) -> None:
    """Three images on the axes, two utterances each."""
    directory.mkdir()
    np.save(directory / "image.npy", np.eye(3, dtype=np.float32))
    np.save(directory / "speech_parallel.npy", speech.astype(np.float32))
    utterances = [f"{image}_{n}" for image in "abc" for n in range(2)]
    (directory / "utterances.txt").write_text("\n".join(utterances) + "\n")
    (directory / "images.txt").write_text("a\nb\nc\n")
    (directory / "utt2image").write_text("".join(f"{u} {u[0]}\n" for u in utterances))


def ranks_of(data: InferenceSet) -> dict[str, RetrievalRanks]:
    return {
        branch: rank_embeddings(speech, data.image, data.image_of, data.images)[0]
        for branch, speech in data.branches.items()
    }


def test_order_is_by_rank_and_margin_one_per_image(tmp_path):
    speech = [[9, 1, 0], [8, 1, 0], [0, 5, 4], [7, 5, 0], [9, 8, 1], [9, 0, 2]]
    write(tmp_path / "test", np.array(speech) / 10)
    data = read_inference_set(tmp_path / "test")
    examples = choose_examples(data, ranks_of(data))
    best, worst = examples["best"], examples["worst"]
    assert [query.utterance for query in best] == ["a_0", "b_0", "c_1"]
    assert [query.utterance for query in worst] == ["c_0", "b_1", "a_1"]
    assert [query.ranks["parallel"] for query in worst] == [3, 2, 1]
    assert [found.image for found in worst[0].found] == ["a", "b", "c"]
    assert worst[0].right.image == "c" and np.isclose(worst[0].right.score, 0.1)


def test_a_set_without_speech_has_no_queries(tmp_path):
    write(tmp_path / "test", np.eye(6, 3) + 0.1)
    (tmp_path / "test" / "speech_parallel.npy").rename(tmp_path / "test" / "text.npy")
    data = read_inference_set(tmp_path / "test")
    assert choose_examples(data, ranks_of(data)) == {"best": (), "worst": (), "random": ()}


def test_random_ones_are_the_same_each_time_and_one_per_image(tmp_path):
    write(tmp_path / "test", np.eye(6, 3) + 0.1)
    data = read_inference_set(tmp_path / "test")
    drawn = [choose_examples(data, ranks_of(data), seed=seed)["random"] for seed in (0, 0, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert any(queries != drawn[0] for queries in drawn)
    assert all([query.right.image for query in queries] == ["a", "b", "c"] for queries in drawn)


def test_found_images_agree_with_a_full_sort(tmp_path, monkeypatch):
    monkeypatch.setattr("espnet_plugin.evaluation.queries._BLOCK", 4)
    write_set(tmp_path / "test", seed=3)
    data = read_inference_set(tmp_path / "test")
    ranks = ranks_of(data)
    best = choose_examples(data, ranks)["best"]
    for query in best:
        row = data.utterances.index(query.utterance)
        cosines = data.image @ data.parallel[row]
        assert [f.image for f in query.found] == [data.images[i] for i in np.argsort(-cosines)[:5]]
        assert query.right.image == data.image_of[row]
        assert query.ranks["parallel"] == ranks["parallel"].rank[row]
    places = [query.ranks["parallel"] for query in best]
    assert places == sorted(places)
    first = [query for query in best if query.ranks["parallel"] == 1]
    margins = [query.right.score - query.found[1].score for query in first]
    assert margins == sorted(margins, reverse=True) and len(margins) > 1
