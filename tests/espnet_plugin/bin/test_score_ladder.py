from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from espnet_plugin.bin import score_ladder, show_results
from espnet_plugin.evaluation import ladder
from espnet_plugin.evaluation.ladder import STEPS


def test_both_ends_are_what_inference_wrote(
    inferred: Path, trained: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    directory = tmp_path / "inference" / "test"
    shutil.copytree(inferred, directory)
    arguments = ["--inference_dir", str(directory)]
    arguments += ["--speechclip_model_file", f"{trained}/latest.pth"]
    scored: list[dict] = []

    def spy(data, ids, embeddings, texts) -> dict:
        scored.extend((ids, embeddings))
        return ladder.score_ladder(data, ids, embeddings, texts)

    monkeypatch.setattr(score_ladder, "score_ladder", spy)
    score_ladder.main(arguments)
    _, embeddings = scored
    assert embeddings.keys() == STEPS.keys()
    assert np.allclose(embeddings["caption"], np.load(directory / "text.npy"), atol=1e-5)
    cascaded = np.load(directory / "speech_cascaded.npy")
    assert np.allclose(embeddings["keywords"], cascaded, atol=1e-5)
    assert "| all keywords of the model |" in capsys.readouterr().out
    show_results.main(["--inference_dir", str(tmp_path / "inference"), "--no_report"])
    scores = json.loads((tmp_path / "inference" / "scores.json").read_text())
    assert list(scores["ladder"]["steps"]) == list(STEPS)

    (directory / "keywords.jsonl").unlink()
    with pytest.raises(SystemExit, match="needs a cascaded branch"):
        score_ladder.main(arguments)
