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
    assert "| parallel branch | 100.0" in capsys.readouterr().out


def test_compares_experiments(tmp_path, capsys):
    paths = []
    for seed, recall in enumerate((0.5, 0.7)):
        paths.append(str(tmp_path / f"{seed}.json"))
        scores = {"architecture": "hybrid", "parallel": {"speech_to_image": {"recall@10": recall}}}
        (tmp_path / f"{seed}.json").write_text(json.dumps(scores))
    show_results.main(["--compare", *paths, "--output", str(tmp_path / "table.md")])
    assert "| hybrid | 2 | 60.0 ± 14.1 |" in capsys.readouterr().out
    assert "hybrid" in (tmp_path / "table.md").read_text()


def test_errors_are_one_line(tmp_path):
    with pytest.raises(SystemExit, match="holds the sets"):
        show_results.main(["--inference_dir", str(tmp_path)])
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(SystemExit, match="no scores.json"):
        show_results.main(["--compare", str(tmp_path / "bad.json")])
