"""Names of English, and the words of an English text with their numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from espnet_plugin.data.english import (
    counted_texts,
    general_word_counts,
    is_english,
    write_word_counts,
)
from espnet_plugin.utils.errors import DataError


def texts(path: Path, content: str) -> list[tuple[str, int]]:
    path.write_text(content, encoding="utf-8")
    return list(counted_texts(path))


def test_a_sentence_occurs_once_and_a_word_as_often_as_its_count(tmp_path: Path) -> None:
    file = tmp_path / "text"
    sentences = texts(file, "\n A dog runs.\n\nA dog, 3 cats\r\n")
    assert sentences == [(" A dog runs.", 1), ("A dog, 3 cats", 1)]
    assert texts(file, "dog\t12\n\nice cream\t 3 \r\n") == [("dog", 12), ("ice cream", 3)]
    assert texts(file, "\n") == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("dog 3\ncat,4\n", "read 2 lines as sentences, each counted once; the first is 'dog 3'"),
        ("dog\t3\n\ncat\t4\nox\t1\n", "read 3 lines as word<tab>count; the first is 'dog"),
    ],
)
def test_the_log_says_which_form_was_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str, said: str
) -> None:
    caplog.set_level("INFO")
    texts(tmp_path / "text", content)
    assert said in caplog.text


@pytest.mark.parametrize("line", ["cat", "cat 3", "cat\t0.5", "cat\t-1", "cat\t0", "cat\t1e3"])
def test_a_list_of_words_is_one_to_its_end(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match=r"text:2: expected word<tab>count.*cat"):
        texts(tmp_path / "text", f"dog\t12\n{line}\n")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("word\tcount\ndog\t12\n", 1),  # a header
        ("dog\t0.5\ncat\t0.3\n", 1),  # shares
        ("\nA dog runs.\n1.jpg#0\tA dog runs.\n", 3),  # captions with their ids
    ],
)
def test_a_table_of_another_form_is_no_list_of_sentences(
    tmp_path: Path, content: str, line: int
) -> None:
    with pytest.raises(DataError, match=f"text:{line}: .*without a header, or sentences without"):
        texts(tmp_path / "text", content)


def test_general_words_begin_with_the_commonest_and_function_words_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = {"the": 0.05, "dog": 1e-4, "ox": 4e-6, "red": 4e-4, "00": 1e-4, "ax": 4e-6}
    package = SimpleNamespace(get_frequency_dict=lambda language, wordlist: shares)
    monkeypatch.setitem(sys.modules, "wordfreq", package)
    counts = general_word_counts()
    expected = [("red", 20_000), ("dog", 10_000), ("ax", 2_000), ("ox", 2_000), ("the", 1)]
    assert list(counts.items()) == expected
    write_word_counts(tmp_path / "words", counts)
    assert list(counted_texts(tmp_path / "words")) == expected


def test_the_real_list_has_what_pictures_show() -> None:
    pytest.importorskip("wordfreq")
    counts = general_word_counts()
    assert counts["dog"] > counts["octopus"] > counts["the"] == 1
    assert len(counts) > 20_000


def test_without_the_package_the_message_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    with pytest.raises(ImportError, match=r"pip install wordfreq \(extra: words\), or give a file"):
        general_word_counts()


@pytest.mark.parametrize("name", ["en", "EN", "eng", "English", "en-us", "en_GB"])
def test_names_of_english(name: str) -> None:
    assert is_english(name)


@pytest.mark.parametrize("name", ["sw", "enm", "Hindi", "", "den"])
def test_names_of_other_languages(name: str) -> None:
    assert not is_english(name)
