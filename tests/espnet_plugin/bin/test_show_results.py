from __future__ import annotations

import json

import numpy as np
import pytest

from espnet_plugin.bin import show_results


def test_writes_the_report(tmp_path, capsys):
    directory = tmp_path / "exp" / "inference" / "test"
    directory.mkdir(parents=True)
    np.save(directory / "image.npy", np.eye(2, dtype=np.float32))
    np.save(directory / "speech_parallel.npy", np.eye(2, dtype=np.float32))
    (directory / "utterances.txt").write_text("a_0\nb_0\n")
    (directory / "images.txt").write_text("a\nb\n")
    (directory / "utt2image").write_text("a_0 a\nb_0 b\n")
    show_results.main(["--inference_dir", str(directory.parent), "--no_report"])
    assert (directory.parent / "RESULTS.md").exists()
    assert json.loads((directory.parent / "scores.json").read_text())["test_set"] == "test"
    assert "| utterance | 100.0" in capsys.readouterr().out


def test_errors_are_one_line(tmp_path):
    with pytest.raises(SystemExit, match="holds the sets"):
        show_results.main(["--inference_dir", str(tmp_path)])
