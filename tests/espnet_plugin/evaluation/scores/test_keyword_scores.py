from __future__ import annotations

import math
from dataclasses import replace

import pytest

from espnet_plugin.data.keyword_file import read_keywords, write_keywords
from espnet_plugin.data.scp import read_scp
from espnet_plugin.evaluation.report.tables import detection_table, keyword_language_table
from espnet_plugin.evaluation.scores.keyword_scores import score_keywords_directory
from espnet_plugin.evaluation.spoken import read_spoken


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
    table = keyword_language_table(scores["languages"])
    rate, boundary = table.rows[1][2], table.rows[1][-1]
    assert rate == "25.0" and float(boundary) == pytest.approx(
        100 * swahili["boundaries"]["f_score"]
    )


def test_given_words_are_detected_and_located(inference_dir, tmp_path):
    """All utterances say “dog”, ten of them “red”; all name red from 0 s to 0.3 s."""
    test = inference_dir / "test"
    keywords = read_keywords(test / "keywords.jsonl")
    without_red = tuple(i for i in keywords[0].caption_ids if i != 736)
    keywords[:2] = [replace(u, caption_ids=without_red) for u in keywords[:2]]
    scored = [
        replace(u, keywords=tuple(replace(k, top_scores=(0.5, 0.2, 0.1)) for k in u.keywords))
        for u in keywords
    ]
    write_keywords(test / "keywords.jsonl", scored)

    def detected():
        return score_keywords_directory(test, spoken=read_spoken(tmp_path))["detection"]["all"]

    # all have "dog", so only "red" is asked for; equal scores count as in a random order
    bare = detected()
    assert bare["words"] == 1 and bare["precision_at_10"] == pytest.approx(10 / 12)
    assert math.isnan(bare["located_precision"])
    assert detection_table({"all": bare}).rows == (("all", "1", "83.3", "–"),)
    names = [u.utterance for u in keywords]
    spoken = [f"{name} 1 0.0 0.4 {'cat' if n < 2 else 'red'}\n" for n, name in enumerate(names)]
    (tmp_path / "words.ctm").write_text("".join(spoken))
    assert detected()["located_precision"] == pytest.approx(10 / 12)
    # a word of Swahili that is spelled like an English one means nothing that is known
    languages = [f"{name} {'en-us' if n < 6 else 'sw'}\n" for n, name in enumerate(names)]
    (tmp_path / "utt2lang").write_text("".join(languages))
    assert detected()["located_precision"] == pytest.approx(4 / 6)
    meanings = [f"{name} 1 0.5 0.4 red\n" for name in names[6:]]
    (tmp_path / "meanings.ctm").write_text("".join(meanings))
    assert detected()["located_precision"] == 0.0
