from __future__ import annotations

import json

import numpy as np
import pytest

from espnet_plugin.data.inference_set import read_inference_set
from espnet_plugin.data.keyword_file import Keyword, UtteranceKeywords
from espnet_plugin.evaluation.ladder import (
    best_and_worst_words,
    content_word_recalls,
    read_ladder,
    score_ladder,
    text_steps,
)
from espnet_plugin.evaluation.report.results import write_results
from espnet_plugin.evaluation.report.tables import ladder_tables
from espnet_plugin.evaluation.scores.keywords import load_token_texts

TEXTS = {1: "a</w>", 2: "red</w>", 3: "dog</w>", 4: "run", 5: "s</w>", 6: "cat</w>"}


def test_each_step_reads_less() -> None:
    """“a red dog runs”, heard as red, red, cat, dog, red."""
    keywords = tuple(Keyword(i, TEXTS[i], (i,)) for i in (2, 2, 6, 3, 2))
    spoken = UtteranceKeywords("u", "a red dog runs", (49406, 1, 2, 3, 4, 5, 49407), keywords)
    steps = {step: ids for step, (ids,) in text_steps([spoken], TEXTS, seed=1).items()}
    assert sorted(steps.pop("shuffled")) == [2, 3, 4, 5]
    assert steps == {
        "caption": (1, 2, 3, 4, 5),
        "content_words": (2, 3, 4, 5),
        "named": (2, 3),
        "keywords": (2, 2, 6, 3, 2),
        "collapsed": (2, 6, 3, 2),
        "distinct": (2, 6, 3),
    }
    assert text_steps([spoken] * 9, TEXTS, seed=1) == text_steps([spoken] * 9, TEXTS, seed=1)


@pytest.fixture
def climbed(inference_dir):
    """Scores of a test set whose captions find every image, the other steps half of them."""
    data = read_inference_set(inference_dir / "test")
    texts = load_token_texts(inference_dir.parent / "tokens.tsv")
    ids = text_steps(data.keywords, texts)
    right = np.repeat(data.image, 2, axis=0)
    half = np.where(np.arange(12)[:, None] % 2, right, -right)
    embeddings = {step: right if step == "caption" else half for step in ids}
    return score_ladder(data, ids, embeddings, texts)


def test_recall_falls_where_it_should(climbed, inference_dir) -> None:
    scores = climbed
    steps = scores["steps"]
    assert steps["caption"]["recall@1"] == 1.0 and steps["keywords"]["recall@1"] == 0.5
    assert steps["keywords"]["recall@10"] == 1.0  # of six pictures
    assert steps["keywords"]["intervals"]["recall@1"] == (0.5, 0.5)  # one of two of each picture
    assert [steps[s]["tokens"] for s in ("caption", "keywords", "distinct")] == [5, 3, 2]
    # “red dog run s”, heard as red, red, cat
    recalls = [steps[s]["content_word_recall"] for s in ("content_words", "named", "keywords")]
    assert recalls == [1.0, 0.25, 0.25]
    assert scores["positions"] == {
        "first": {"recall": 1.0, "count": 12},
        **{place: {"recall": 0.0, "count": 12} for place in ("2nd", "3rd", "last")},
    }
    stored = read_ladder(read_inference_set(inference_dir / "test"))
    assert stored == json.loads(json.dumps(scores))


def test_places_and_words_by_hand() -> None:
    found = content_word_recalls([(2, 3, 2), (3,), (3, 4)], [(3,), (2,), (3, 4)], TEXTS)
    assert found["positions"] == {
        "first": {"recall": 1 / 3, "count": 3},
        "2nd": {"recall": 1.0, "count": 1},
        "last": {"recall": 0.5, "count": 2},
    }
    assert found["words"] == {
        "red": {"recall": 0.0, "count": 2},
        "dog": {"recall": 2 / 3, "count": 3},
        "run…": {"recall": 1.0, "count": 1},
    }


def test_rare_words_are_neither_best_nor_worst() -> None:
    words = {f"w{n}": {"recall": n / 10, "count": 10} for n in range(5)}
    words["rare"] = {"recall": 1.0, "count": 9}
    assert best_and_worst_words(words) == (["w4", "w3"], ["w0", "w1"])


def test_a_ladder_is_part_of_the_results(climbed, inference_dir, caplog) -> None:
    options = {"token_list": inference_dir.parent / "tokens.tsv", "figures": False}
    scores = write_results(inference_dir, **options)
    rows = ladder_tables(scores["ladder"])[0].rows
    assert rows[0] == ("the caption", *["100.0 (100.0–100.0)"] * 3, "5.0")
    for page in ("RESULTS.md", "report.html"):
        text = (inference_dir / page).read_text()
        assert "Ladder" in text and "all keywords of the model" in text
    keywords = inference_dir / "test" / "keywords.jsonl"
    keywords.write_text(keywords.read_text().replace('"start": 0.3', '"start": 0.31'))
    assert "ladder" not in write_results(inference_dir, **options)
    assert "run score_ladder again" in caplog.text


def test_a_damaged_ladder_is_left_out(climbed, inference_dir, caplog) -> None:
    data = read_inference_set(inference_dir / "test")
    for content in ("{", "[1]", "{}"):
        (data.directory / "scoring" / "ladder.json").write_text(content)
        assert read_ladder(data) is None
    assert caplog.text.count("run score_ladder again") == 3
