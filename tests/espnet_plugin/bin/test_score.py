from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from espnet_plugin.bin import score


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Three utterances; of "red dog", "red" is named twice."""
    tmp_path = tmp_path / "exp" / "inference" / "test"
    tmp_path.mkdir(parents=True)
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
    score.main(["--inference_dir", str(directory.parent), "--no_report", *map(str, options)])


def scores(directory: Path, name: str) -> dict:
    return json.loads((directory / "scoring" / f"{name}.json").read_text())


def test_retrieval(directory: Path, capsys) -> None:
    run(directory)
    assert (directory.parent / "RESULTS.md").exists()
    assert json.loads((directory.parent / "scores.json").read_text())["test_set"] == "test"
    assert scores(directory, "retrieval")["parallel"]["speech_to_image"]["recall@1"] == 1.0
    assert "| parallel | 100.0 (100.0–100.0)" in capsys.readouterr().out
    assert not (directory / "scoring" / "keywords.json").exists()


def test_fusion(directory: Path) -> None:
    np.save(directory / "speech_cascaded.npy", np.eye(3, dtype=np.float32)[[1, 2, 0]])
    shutil.copytree(directory, directory.with_name("dev"))
    run(directory, "--sets", "test", "dev", "--dev_set", "dev")
    assert scores(directory.with_name("dev"), "retrieval")["fusion"]["weight_of_parallel"] == 1.0
    assert scores(directory, "retrieval")["fusion"]["weight_of_parallel"] == 1.0


def test_keywords(named: Path, capsys) -> None:
    run(named, "--data_root", named.parent)
    report = scores(named, "keywords")
    assert report["subword_hit@1"] == 1.0
    assert report["duplicate_rate"] == 0.5
    assert report["boundaries"]["f_score"] == 1.0
    assert report["boundaries_20ms"]["tolerance"] == 0.02
    output = capsys.readouterr().out
    assert output.startswith("test:\n\n| ") and "| repeats | 50.0" in output


def test_times_of_other_words_leave_places_out(named: Path, caplog) -> None:
    (named / "words.ctm").write_text("x 1 0 1 red\n")
    run(named, "--data_root", named.parent)
    assert "scored without their places: " in caplog.text and "do ids match" in caplog.text


def test_errors_are_one_line(named: Path) -> None:
    lines = (named / "keywords.jsonl").read_text()
    (named / "keywords.jsonl").write_text(lines.replace("a_0", "d_0"))
    with pytest.raises(SystemExit, match="utterances of keywords.jsonl without an image: 1,"):
        run(named)
    (named / "utterances.txt").unlink()
    with pytest.raises(SystemExit, match="holds the sets"):
        run(named)
    with pytest.raises(SystemExit, match="error: .*utterances.txt is missing"):
        run(named, "--sets", "test")
