from __future__ import annotations

import numpy as np
import pytest

from espnet_plugin.evaluation.alignments import Word
from espnet_plugin.evaluation.keyword_file import Keyword, UtteranceKeywords
from espnet_plugin.evaluation.ladder import read_ladder, span_steps, text_steps, write_ladder

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


def test_true_spans_of_words_and_of_content_words(caplog: pytest.LogCaptureFixture) -> None:
    words = {"u": [Word("A", 0.0, 0.1), Word("dog", 0.1, 0.5)], "v": [Word("the", 0.0, 0.2)]}
    spans = span_steps(["u", "v", "w"], words)
    assert spans["word_spans"] == [[(0.0, 0.1), (0.1, 0.5)], [(0.0, 0.2)], None]
    assert spans["content_spans"] == [[(0.1, 0.5)], None, None]
    assert "1 of 3 utterances have no word alignment" in caplog.text


def test_a_ladder_is_read_as_it_was_written(tmp_path) -> None:
    ids = {"caption": [(1, 2), (3,)], "named": [(), ()]}
    embeddings = {step: np.eye(2, dtype=np.float32) for step in ("named", "caption")}
    write_ladder(tmp_path / "ladder.npz", ids, embeddings)
    read, arrays = read_ladder(tmp_path / "ladder.npz")
    assert read == ids and list(arrays) == ["caption", "named"]
    assert np.array_equal(arrays["named"], np.eye(2))
    (tmp_path / "ladder.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="run score_ladder again"):
        read_ladder(tmp_path / "ladder.npz")
