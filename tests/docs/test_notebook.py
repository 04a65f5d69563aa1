"""The notebook that readers run on files of their own, on a tiny model and tiny files."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from tests.pages import PROJECT
from tests.s3prl_upstream.conftest import exported  # noqa: F401

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exported: Callable[..., Path],  # noqa: F811
) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "question.wav", 0.1 * rng.normal(size=24000), 16000)
    (tmp_path / "mine").mkdir()
    for number in range(3):
        pixels = rng.integers(0, 255, (40, 48, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "mine" / f"{number}.png")
    (tmp_path / "mine" / "broken.jpg").write_bytes(b"no image")
    shutil.make_archive(str(tmp_path / "mine"), "zip", tmp_path / "mine")
    shutil.rmtree(tmp_path / "mine")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    notebook = nbformat.read(PROJECT / "docs" / "notebooks" / "search.ipynb", as_version=4)
    (parameters,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    parameters.source += f"\nMODEL, PICTURES = {str(exported('hybrid+'))!r}, 'mine.zip'"
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": tmp_path}}).execute()
    printed = ["".join(map(text_of, cell.get("outputs", []))) for cell in notebook.cells]
    assert any("3 pictures; left out: " in text and "broken.jpg" in text for text in printed)
    assert "mine/" in printed[-2] and printed[-2].count(".png") == 3  # the commands' answer


def text_of(output: dict) -> str:
    return output["text"] if output.get("name") == "stdout" else ""
