from __future__ import annotations

import pytest

from espnet_plugin.data.hard_negatives import (
    HARD_NEGATIVES,
    HardNegative,
    write_hard_negatives,
)
from espnet_plugin.data.scp import read_scp
from espnet_plugin.evaluation.scores.keyword_scores import score_keywords_directory
from espnet_plugin.evaluation.scores.retrieval import score_retrieval_directory


@pytest.fixture
def options(inference_dir, tmp_path):
    """Word alignments."""
    utterances = (inference_dir / "test" / "utterances.txt").read_text().split()
    ctm = tmp_path / "words.ctm"
    ctm.write_text("".join(f"{u} 1 0.0 0.4 red\n{u} 1 0.4 0.5 dog\n" for u in utterances))
    return {"words_ctm": ctm}


def test_boundaries_of_each_utterance_are_kept_while_there_are_any(inference_dir, options):
    test = inference_dir / "test"
    score_keywords_directory(test, **options)
    utterances = (test / "utterances.txt").read_text().split()
    assert list(read_scp(test / "scoring" / "boundary_f")) == sorted(utterances)
    score_keywords_directory(test)
    assert not (test / "scoring" / "boundary_f").exists()


def test_images_that_are_not_independent_are_resampled_together(inference_dir, options):
    test = inference_dir / "test"

    def reciprocal_rank():
        scores = score_retrieval_directory(test)
        return scores["intervals"]["parallel"]["speech_to_image"]["mean_reciprocal_rank"]

    lower, upper = reciprocal_rank()
    assert lower < upper
    images = (test / "images.txt").read_text().split()
    write_hard_negatives(
        test / HARD_NEGATIVES, [HardNegative(images[0], image, "x") for image in images[1:]]
    )
    lower, upper = reciprocal_rank()
    assert lower == upper  # one draw
    lower, upper = score_keywords_directory(test, **options)["intervals"]["content_word_recall"]
    assert lower == upper


def test_a_content_word_of_four_is_named(inference_dir, options):
    scores = score_keywords_directory(inference_dir / "test", **options)
    assert scores["content_word_recall"] == pytest.approx(1 / 4)
