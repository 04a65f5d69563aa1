from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from espnet_plugin.data.hard_negatives import (
    HARD_NEGATIVES,
    HardNegative,
    write_hard_negatives,
)
from espnet_plugin.data.scp import read_scp
from espnet_plugin.evaluation.scores.directory import (
    current_keyword_scores,
    current_retrieval_scores,
    score_keywords_directory,
    score_retrieval_directory,
)


@pytest.fixture
def scored(inference_dir, tmp_path):
    """A set whose retrieval was scored with a development set, its keywords with alignments."""
    test = inference_dir / "test"
    ctm = tmp_path / "words.ctm"
    utterances = (test / "utterances.txt").read_text().split()
    ctm.write_text("".join(f"{u} 1 0.0 0.4 red\n{u} 1 0.4 0.5 dog\n" for u in utterances))
    score_retrieval_directory(test, dev_directory=inference_dir / "dev", recall_at=[2], samples=10)
    tokens = inference_dir.parent / "tokens.tsv"
    score_keywords_directory(test, token_list=tokens, words_ctm=ctm, samples=10)
    return test


def stored(path):
    return {
        name: value for name, value in json.loads(path.read_text()).items() if "made" not in name
    }


def test_scores_are_made_with_the_options_of_the_last_time(scored, tmp_path):
    retrieval, keywords = current_retrieval_scores(scored), current_keyword_scores(scored)
    assert "recall@2" in retrieval["fusion"]["speech_to_image"] and "boundaries" in keywords
    assert stored(scored / "scoring" / "retrieval.json") == json.loads(json.dumps(retrieval))
    assert current_retrieval_scores(scored) == retrieval
    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(scored.parent, moved)
    assert current_retrieval_scores(moved / "test") == retrieval
    shutil.rmtree(moved / "dev")  # what lies elsewhere may be gone, e.g. on another machine
    assert "fusion" in current_retrieval_scores(moved / "test")
    assert "boundaries" in current_keyword_scores(moved / "test")


def test_options_of_an_earlier_version_are_passed_over(scored):
    path = scored / "scoring" / "keywords.json"
    scores = json.loads(path.read_text())
    scores["made_with"] |= {"textgrid_dir": {"path": "words"}, "tolerance": 0.2}
    path.write_text(json.dumps(scores))
    assert current_keyword_scores(scored)["boundaries"]["tolerance"] == 0.2


def test_boundaries_of_each_utterance_are_kept_while_there_are_any(scored):
    utterances = (scored / "utterances.txt").read_text().split()
    assert list(read_scp(scored / "scoring" / "boundary_f")) == sorted(utterances)
    score_keywords_directory(scored, samples=0)
    assert not (scored / "scoring" / "boundary_f").exists()


def test_another_development_set_chooses_the_weight_again(scored):
    dev = scored.parent / "dev"
    np.save(dev / "speech_parallel.npy", np.load(dev / "speech_parallel.npy")[::-1])
    np.save(dev / "speech_cascaded.npy", np.repeat(np.load(dev / "image.npy"), 2, axis=0))
    assert current_retrieval_scores(scored)["fusion"]["weight_of_parallel"] < 0.6
    dev.rename(scored.parent / "valid")
    valid = scored.parent / "valid"
    np.save(valid / "speech_parallel.npy", np.repeat(np.load(valid / "image.npy"), 2, axis=0))
    scores = current_retrieval_scores(scored, dev_directory=valid)
    assert scores["fusion"]["weight_of_parallel"] == 1.0


def test_other_embeddings_are_scored(scored):
    (scored / "text.npy").unlink()
    assert "teacher" not in current_retrieval_scores(scored)


def test_other_alignments_place_keywords_again(scored, tmp_path):
    before = current_keyword_scores(scored)["localization"]["centre"]
    ctm = tmp_path / "words.ctm"
    ctm.write_text(ctm.read_text().replace("0.0 0.4 red", "0.0 0.1 red"))
    assert current_keyword_scores(scored)["localization"]["centre"] != before
    other = ctm.with_name("other.ctm")
    other.write_text(ctm.read_text().replace("0.0 0.1 red", "0.0 0.4 red"))
    assert current_keyword_scores(scored, words_ctm=other)["localization"]["centre"] == before


def test_pictures_that_are_no_independent_draws_are_resampled_together(scored):
    before = current_retrieval_scores(scored)["intervals"]["parallel"]["speech_to_image"]
    assert before["mean_reciprocal_rank"][0] < before["mean_reciprocal_rank"][1]
    images = (scored / "images.txt").read_text().split()
    write_hard_negatives(
        scored / HARD_NEGATIVES, [HardNegative(images[0], image, "x") for image in images[1:]]
    )
    after = current_retrieval_scores(scored)["intervals"]["parallel"]["speech_to_image"]
    assert after["mean_reciprocal_rank"][0] == after["mean_reciprocal_rank"][1]  # one draw
    spoken = current_keyword_scores(scored)["intervals"]["content_word_recall"]
    assert spoken[0] == spoken[1]


def test_another_token_list_scores_keywords_again(scored):
    tokens = scored.parent.parent / "tokens.tsv"
    assert current_keyword_scores(scored)["content_word_recall"] == pytest.approx(1 / 4)
    tokens.write_text(tokens.read_text().replace("dog</w>", "the</w>"))  # no content any more
    assert current_keyword_scores(scored)["content_word_recall"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("content", ["{", "[1]", "{}"])
def test_damaged_and_older_scores_are_made_again(scored, content):
    (scored / "scoring" / "retrieval.json").write_text(content)
    assert "recall@1" in current_retrieval_scores(scored)["parallel"]["speech_to_image"]
