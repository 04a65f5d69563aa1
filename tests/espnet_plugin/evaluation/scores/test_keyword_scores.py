from __future__ import annotations

from dataclasses import replace

import pytest

from espnet_plugin.data.keyword_file import read_keywords, write_keywords
from espnet_plugin.data.scp import read_scp
from espnet_plugin.data.spoken import read_spoken
from espnet_plugin.evaluation.report.tables import detection_table, keyword_language_table
from espnet_plugin.evaluation.scores.keyword_scores import score_keywords_directory


@pytest.fixture
def options(inference_dir, tmp_path):
    """Word alignments."""
    utterances = (inference_dir / "test" / "utterances.txt").read_text().split()
    ctm = tmp_path / "words.ctm"
    ctm.write_text("".join(f"{u} 1 0.0 0.4 red\n{u} 1 0.4 0.5 dog\n" for u in utterances))
    return {"spoken": read_spoken(tmp_path)}


def test_boundaries_of_each_utterance_are_kept_while_there_are_any(inference_dir, options):
    test = inference_dir / "test"
    score_keywords_directory(test, **options)
    utterances = (test / "utterances.txt").read_text().split()
    assert list(read_scp(test / "scoring" / "boundary_f")) == sorted(utterances)
    score_keywords_directory(test)
    assert not (test / "scoring" / "boundary_f").exists()


def test_a_content_word_of_four_is_named(inference_dir, options):
    scores = score_keywords_directory(inference_dir / "test", **options)
    assert scores["content_word_recall"] == pytest.approx(1 / 4)


def test_foreign_speech_is_compared_with_its_translation(inference_dir, tmp_path):
    """“a red dog runs”, heard as red, red, cat, of 0.3 s each; half of it is said in Swahili."""
    test, data = inference_dir / "test", tmp_path / "data"
    data.mkdir()
    utterances = (test / "utterances.txt").read_text().split()
    language = dict(zip(utterances, ["en-us", "sw"] * 6, strict=True))
    (data / "utt2lang").write_text("".join(f"{u} {name}\n" for u, name in language.items()))
    said = {"en-us": [("red", 0.0), ("dog", 0.5)], "sw": [("mbwa", 0.0), ("red", 0.5)]}
    lines = [f"{u} 1 {s} 0.4 {w}\n" for u, name in language.items() for w, s in said[name]]
    (data / "words.ctm").write_text("".join(lines))
    scores = score_keywords_directory(test, spoken=read_spoken(data))
    assert scores["translated"] == 6
    english, swahili = scores["languages"]["en-us"], scores["languages"]["sw"]
    assert english["utterances"] == swahili["utterances"] == 6
    for found in (scores, english, swahili):
        assert found["content_word_recall"] == pytest.approx(1 / 4)
        assert found["duplicate_rate"] == pytest.approx(1 / 3)
    # boundaries need no meaning: two of each are predicted, at 0.3 and 0.6, and two are true
    assert swahili["boundaries"]["predicted"] == swahili["boundaries"]["reference"] == 12
    # a word of Swahili that is spelled like an English one means nothing that is known
    assert english["localization"]["centre"] == 1 / 2  # the second "red" comes after it
    assert swahili["localization"]["keywords"] == 0
    assert scores["localization"]["keywords"] == 12
    meanings = [f"{u} 1 0.5 0.4 red\n" for u in utterances if language[u] == "sw"]
    (data / "meanings.ctm").write_text("".join(meanings))
    scores = score_keywords_directory(test, spoken=read_spoken(data))
    assert scores["languages"]["sw"]["localization"]["centre"] == 0.0
    assert scores["languages"]["en-us"]["localization"]["keywords"] == 0  # no meanings were given
    table = keyword_language_table(scores["languages"])
    rate, boundary = table.rows[1][2], table.rows[1][-1]
    assert (rate, boundary) == ("25.0", "0.0")


def test_given_words_are_asked_for_by_text_and_by_images(inference_dir, tmp_path):
    """Twelve utterances say “red”, ten of them “dog”; all name red twice, then cat."""
    test = inference_dir / "test"
    keywords = read_keywords(test / "keywords.jsonl")
    red = tuple(i for i in keywords[0].caption_ids if i != 1929)
    keywords[:2] = [replace(u, caption_ids=red) for u in keywords[:2]]
    scored = [
        replace(u, keywords=tuple(replace(k, top_scores=(0.5, 0.2, 0.1)) for k in u.keywords))
        for u in keywords
    ]
    write_keywords(test / "keywords.jsonl", scored)
    scores = score_keywords_directory(test)
    # all have "red", so nothing is detected. "dog" is second of a keyword (0.2) in all, also in the
    # two that do not say it: equal scores count as in a random order
    found = scores["detection"]["all"]
    assert list(found) == ["text"]
    assert found["text"]["words"] == 1
    assert found["text"]["precision_at_10"] == pytest.approx(10 / 12)
    assert found["text"]["average_precision"] == pytest.approx(10 / 12)
    assert found["text"]["equal_error_rate"] == pytest.approx(1 / 2)
    assert detection_table(scores["detection"]).rows[0][:5] == ("all", "text", "1", "83.3", "50.0")
