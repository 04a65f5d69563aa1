from __future__ import annotations

import json

import numpy as np
import pytest

from espnet_plugin.bin import score_retrieval


def write_directory(directory, parallel):
    directory.mkdir()
    np.save(directory / "image.npy", np.eye(3, dtype=np.float32))
    np.save(directory / "speech_parallel.npy", np.asarray(parallel, dtype=np.float32))
    (directory / "utterances.txt").write_text("a_0\nb_0\nc_0\n")
    (directory / "images.txt").write_text("a\nb\nc\n")
    (directory / "utt2image").write_text("a_0 a\nb_0 b\nc_0 c\n")
    return str(directory)


def test_scores(tmp_path, capsys):
    good = write_directory(tmp_path / "good", np.eye(3))
    score_retrieval.main(["--inference_dir", good, "--recall_at", "3", "1"])
    report = json.loads((tmp_path / "good" / "scoring" / "retrieval.json").read_text())
    assert report["parallel"]["speech_to_image"]["recall@1"] == 1.0
    output = capsys.readouterr().out
    assert "| parallel branch | 100.0 (100.0–100.0)" in output


def test_fusion(tmp_path):
    good = write_directory(tmp_path / "good", np.eye(3))
    np.save(tmp_path / "good" / "speech_cascaded.npy", np.eye(3, dtype=np.float32)[[1, 2, 0]])
    score_retrieval.main(["--inference_dir", good, "--dev_dir", good])
    report = json.loads((tmp_path / "good" / "scoring" / "retrieval.json").read_text())
    assert report["fusion"]["weight_of_parallel"] == 1.0


def test_errors_are_one_line(tmp_path):
    with pytest.raises(SystemExit, match="error: .*utterances.txt is missing"):
        score_retrieval.main(["--inference_dir", str(tmp_path)])
    good = write_directory(tmp_path / "good", np.eye(3))
    with pytest.raises(SystemExit, match="--recall_at"):
        score_retrieval.main(["--inference_dir", good, "--recall_at", "0"])
