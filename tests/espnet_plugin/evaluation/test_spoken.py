"""Languages of a set's speech, and what its words mean."""

from __future__ import annotations

from pathlib import Path

from espnet_plugin.data.words import SpokenWord
from espnet_plugin.evaluation.spoken import Spoken, read_spoken


def test_words_mean_themselves_in_english_alone(tmp_path: Path) -> None:
    (tmp_path / "words.ctm").write_text("a 1 0 1 dog\nb 1 0 1 pizza\nc 1 0 1 cat\n")
    unknown = read_spoken(tmp_path)
    assert unknown.english == unknown.words and unknown.foreign("abc") == {}
    (tmp_path / "utt2lang").write_text("a en\nb sw\nc en-us\n")
    spoken = read_spoken(tmp_path)
    assert spoken.foreign("abc") == {"b": "sw"}
    assert spoken.english == {
        "a": [SpokenWord("dog", None, 0, 1)],
        "c": [SpokenWord("cat", None, 0, 1)],
    }
    assert spoken.words["b"] == [SpokenWord("pizza", None, 0, 1)]
    (tmp_path / "meanings.ctm").write_text("b 1 0 1 pizza\n")
    assert read_spoken(tmp_path).english == {"b": [SpokenWord("pizza", None, 0, 1)]}
    assert read_spoken(tmp_path, times=False) == Spoken(spoken.language_of)
    assert read_spoken(None) == read_spoken(tmp_path / "empty") == Spoken()
