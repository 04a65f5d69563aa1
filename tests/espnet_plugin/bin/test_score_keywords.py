from __future__ import annotations

import json

import pytest

from espnet_plugin.bin import score_keywords


@pytest.fixture
def directory(tmp_path):
    """One utterance, "red dog"; "red" is named twice."""
    keyword = {
        "token_id": 2,
        "token": "red</w>",
        "top": [2],
        "neighbours": [2, 9],
        "start": 0.0,
        "end": 0.4,
    }
    record = {
        "utt": "u1",
        "caption": "red dog",
        "caption_ids": [2, 3],
        "seconds": 1.0,
        "keywords": [keyword, {**keyword, "start": 0.4, "end": 1.0}],
    }
    (tmp_path / "keywords.jsonl").write_text(json.dumps(record) + "\n")
    (tmp_path / "words.ctm").write_text("u1 1 0.0 0.4 red\nu1 1 0.4 0.6 dog\n")
    (tmp_path / "tokens.tsv").write_text("id\ttoken\tcount\n2\tred</w>\t1\n3\tdog</w>\t1\n")
    return tmp_path


def run(directory, *options):
    tokens = str(directory / "tokens.tsv")
    score_keywords.main(
        ["--inference_dir", str(directory), "--token_list", tokens, *map(str, options)]
    )


@pytest.mark.parametrize("option", ["--words_ctm", "--data_dir"])
def test_scores(directory, option, capsys):
    place = directory / "words.ctm" if option == "--words_ctm" else directory
    run(directory, option, place)
    report = json.loads((directory / "scoring" / "keywords.json").read_text())
    assert report["subword_hit@1"] == 1.0
    assert report["duplicate_rate"] == 0.5
    assert report["localization"]["centre"] == 0.5
    assert report["boundaries"]["f_score"] == 1.0
    assert report["boundaries_20ms"]["tolerance"] == report["tokens_20ms"]["tolerance"] == 0.02
    output = capsys.readouterr().out
    assert output.startswith(f"Keywords of {directory.name}:\n\n| measure |")
    assert "`duplicate_rate` | 50.0" in output


def test_errors_are_one_line(directory):
    (directory / "utt2image").write_text("u2 i1\n")
    with pytest.raises(SystemExit, match="error: .*no image for 1 utterances"):
        run(directory)
    (directory / "utt2image").unlink()
    (directory / "words.ctm").write_text("x 1 0 1 red\n")
    with pytest.raises(SystemExit, match="do ids match"):
        run(directory, "--words_ctm", directory / "words.ctm")
    (directory / "keywords.jsonl").unlink()
    with pytest.raises(SystemExit, match="keywords.jsonl is missing"):
        run(directory)
