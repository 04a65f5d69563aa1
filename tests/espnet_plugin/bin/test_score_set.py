from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from espnet_plugin.bin import score_set


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Three utterances; of "red dog", "red" is named twice."""
    np.save(tmp_path / "image.npy", np.eye(3, dtype=np.float32))
    np.save(tmp_path / "speech_parallel.npy", np.eye(3, dtype=np.float32))
    (tmp_path / "utterances.txt").write_text("a_0\nb_0\nc_0\n")
    (tmp_path / "images.txt").write_text("a\nb\nc\n")
    (tmp_path / "utt2image").write_text("a_0 a\nb_0 b\nc_0 c\n")
    return tmp_path


@pytest.fixture
def named(directory: Path) -> Path:
    keyword = {
        "token_id": 736,
        "token": "red</w>",
        "top": [736],
        "neighbours": [736, 9],
        "start": 0.0,
        "end": 0.4,
    }
    record = {
        "utt": "a_0",
        "caption": "red dog",
        "caption_ids": [736, 1929],
        "seconds": 1.0,
        "keywords": [keyword, {**keyword, "start": 0.4, "end": 1.0}],
    }
    (directory / "keywords.jsonl").write_text(json.dumps(record) + "\n")
    (directory / "words.ctm").write_text("a_0 1 0.0 0.4 red\na_0 1 0.4 0.6 dog\n")
    return directory


def run(directory: Path, *options: Any) -> None:
    score_set.main(["--inference_dir", str(directory), *map(str, options)])


def scores(directory: Path, name: str) -> dict:
    return json.loads((directory / "scoring" / f"{name}.json").read_text())


def test_retrieval(directory: Path, capsys) -> None:
    run(directory)
    assert scores(directory, "retrieval")["parallel"]["speech_to_image"]["recall@1"] == 1.0
    assert "| utterance | 100.0 (100.0–100.0)" in capsys.readouterr().out
    assert not (directory / "scoring" / "keywords.json").exists()


def test_fusion(directory: Path) -> None:
    np.save(directory / "speech_cascaded.npy", np.eye(3, dtype=np.float32)[[1, 2, 0]])
    run(directory, "--dev_dir", directory)
    assert scores(directory, "retrieval")["fusion"]["weight_of_parallel"] == 1.0


def test_keywords(named: Path, capsys) -> None:
    run(named, "--data_dir", named)
    report = scores(named, "keywords")
    assert report["subword_hit@1"] == 1.0
    assert report["duplicate_rate"] == 0.5
    assert report["boundaries"]["f_score"] == 1.0
    assert report["boundaries_20ms"]["tolerance"] == 0.02
    output = capsys.readouterr().out
    assert output.startswith(f"{named.name}:\n\n| ") and "| repeats | 50.0" in output


def test_errors_are_one_line(named: Path) -> None:
    options = ("--data_dir", named)
    (named / "words.ctm").write_text("x 1 0 1 red\n")
    with pytest.raises(SystemExit, match="do ids match"):
        run(named, *options)
    lines = (named / "keywords.jsonl").read_text()
    (named / "keywords.jsonl").write_text(lines.replace("a_0", "d_0"))
    with pytest.raises(SystemExit, match="utterances of keywords.jsonl without an image: 1,"):
        run(named, *options)
    (named / "utterances.txt").unlink()
    with pytest.raises(SystemExit, match="error: .*utterances.txt is missing"):
        run(named)
