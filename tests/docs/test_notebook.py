"""The notebooks run from top to bottom, on a tiny model and tiny files.

``make docs`` runs the one about mini's model, too, where ``make demo`` has trained that model.
"""

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
from tests.sounds import murmur

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")


@pytest.mark.slow
def test_the_notebook_about_minis_model(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exported: Callable[..., Path],  # noqa: F811
) -> None:
    rng = np.random.default_rng(0)
    recipe, here = tmp_path / "egs2" / "speechclip_plus", tmp_path / "docs" / "notebooks"
    data, experiment = (
        recipe / "dump/raw/mini_test",
        recipe / "exp/speechclip_mini_hybrid_plus_annealed",
    )
    for folder in (here, data, experiment):
        folder.mkdir(parents=True)
    shutil.copytree(exported("hybrid+"), experiment / "model")
    tables: dict[str, list[str]] = {"wav.scp": [], "text": [], "utt2image": [], "image.scp": []}
    for number in range(101):
        image, utterance = f"img{number:03}", f"img{number:03}_0"
        soundfile.write(data / f"{utterance}.wav", murmur(8000, seed=number), 16000)
        pixels = rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(data / f"{image}.png")
        tables["wav.scp"].append(f"{utterance} {data}/{utterance}.wav")
        tables["text"].append(f"{utterance} a red dog")
        tables["utt2image"].append(f"{utterance} {image}")
        tables["image.scp"].append(f"{image} {data}/{image}.png")
    for name, lines in tables.items():
        (data / name).write_text("".join(f"{line}\n" for line in lines))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    notebook = nbformat.read(PROJECT / "docs" / "notebooks" / "mini.ipynb", as_version=4)
    (scores,) = (cell for cell in notebook.cells if "assert recall[10]" in cell.source)
    scores.source = scores.source.replace("assert ", "")  # a random model finds nothing
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": here}}).execute()
    printed = ["".join(map(text_of, cell.get("outputs", []))) for cell in notebook.cells]
    assert any("101 recordings of 101 images" in text for text in printed)
    assert any("R@10 " in text and "chance  9.9 %" in text for text in printed)


@pytest.mark.slow
def test_the_notebook_for_files_of_ones_own(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exported: Callable[..., Path],  # noqa: F811
) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "question.wav", murmur(24000), 16000)
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
    parameters.source += f"\nMODEL, IMAGES = {str(exported('hybrid+'))!r}, 'mine.zip'"
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": tmp_path}}).execute()
    printed = ["".join(map(text_of, cell.get("outputs", []))) for cell in notebook.cells]
    assert any("3 images; left out: " in text and "broken.jpg" in text for text in printed)
    assert "mine/" in printed[-2] and printed[-2].count(".png") == 3  # the commands' answer


def text_of(output: dict) -> str:
    return output["text"] if output.get("name") == "stdout" else ""
