from __future__ import annotations

import json

import pytest

from espnet_plugin.data.keyword_file import (
    Keyword,
    UtteranceKeywords,
    read_keywords,
    write_keywords,
)


def test_reads_records(tmp_path):
    path = tmp_path / "keywords.jsonl"
    keywords = [{"token_id": 3, "token": "dog</w>", "top": [3, 4], "start": 0.5, "end": 1}]
    records = [
        {"utt": "u1", "caption": "dog", "caption_ids": [3], "seconds": 2, "keywords": keywords,
         "alphas": [0.5, 1], "fired": [1]},
        {"utt": "u2", "caption": "", "caption_ids": [],
         "keywords": [{"token_id": 1, "token": "a", "top": [1]}]},
    ]  # fmt: skip
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + "\n")
    first, second = read_keywords(path)
    assert first.keywords == (Keyword(3, "dog</w>", (3, 4), 0.5, 1.0),)
    assert (first.seconds, first.alphas, first.fired) == (2.0, (0.5, 1.0), (1,))
    assert second.keywords == (Keyword(1, "a", (1,)),)
    assert second.alphas is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("{broken\n", "keywords.jsonl:1: not a keyword record"),
        ('{"utt": "u1"}\n', "keywords.jsonl:1: not a keyword record"),
        (
            '{"utt": "u", "caption": "", "caption_ids": [], "keywords": []}\n'
            '{"utt": "v", "keywords": []}\n',
            "v has no caption, but others have: run inference with --text",
        ),
        ('{"utt": "u", "caption": "", "caption_ids": [], "keywords": []}\n' * 2, "u occurs twice"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = tmp_path / "keywords.jsonl"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_keywords(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="cascaded branch"):
        read_keywords(tmp_path / "keywords.jsonl")


def test_keywords_of_an_unwritten_language_have_no_caption(tmp_path):
    path = tmp_path / "keywords.jsonl"
    path.write_text('{"utt": "a", "keywords": []}\n')
    assert read_keywords(path) == [UtteranceKeywords("a", None, None, ())]


def test_what_is_written_is_read_with_four_digits(tmp_path):
    path = tmp_path / "keywords.jsonl"
    heard = Keyword(3, "dog</w>", (3, 4), 0.123456, 0.5, 0.98765, (0.98765, 0.5))
    spoken = UtteranceKeywords("ü", "dog", (3,), (heard,), 1.00004, (0.1, 0.900049), (1,))
    silent = UtteranceKeywords("v", "", (), ())
    write_keywords(path, [spoken, silent])
    first = (
        '{"utt": "ü", "caption": "dog", "caption_ids": [3], "keywords": [{"token_id": 3, '
        '"token": "dog</w>", "top": [3, 4], "start": 0.1235, "end": 0.5, '
        '"score": 0.9877, "top_scores": [0.9877, 0.5]}], "seconds": 1.0, '
        '"alphas": [0.1, 0.9], "fired": [1]}\n'
    )
    assert path.read_text(encoding="utf-8").startswith(first)
    rounded = Keyword(3, "dog</w>", (3, 4), 0.1235, 0.5, 0.9877, (0.9877, 0.5))
    assert read_keywords(path) == [
        UtteranceKeywords("ü", "dog", (3,), (rounded,), 1.0, (0.1, 0.9), (1,)),
        silent,
    ]
