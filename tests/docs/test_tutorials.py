"""The code of tutorials runs, on a tiny model, from a folder that holds what they name.

The recipe's tutorial is run by ``.ci/run demo``, on the model that the recipe has trained.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from PIL import Image

from tests.faults.recipe import make_project
from tests.pages import PROJECT, blocks, run_page
from tests.s3prl_upstream.conftest import exported  # noqa: F401

TUTORIALS = ("espnet.md", "s3prl.md", "tutorials/python.md")


@pytest.fixture
def workspace(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exported: Callable[..., Path],  # noqa: F811
) -> Path:
    """A model, a recording at 44.1 kHz in stereo, three pictures; the current directory."""
    rng = np.random.default_rng(0)
    shutil.make_archive(str(tmp_path / "model"), "zip", exported("hybrid+"))
    soundfile.write(tmp_path / "question.wav", 0.1 * rng.normal(size=(66150, 2)), 44100)
    (tmp_path / "pictures").mkdir()
    for number in range(1, 4):
        pixels = rng.integers(0, 255, (40, 48, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", TUTORIALS)
def test_it_runs(name: str, workspace: Path) -> None:
    names = run_page(PROJECT / "docs" / name)
    assert len(names) > 3  # its blocks were found


@pytest.mark.slow
def test_a_language_without_writing_from_recordings_to_a_glossary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """The recipe on noise; the configuration that the page names has tiny teachers."""
    recipe = make_project(tmp_path)
    (recipe / "corpus").rename(recipe / "my_language")
    (recipe / "my_language" / "corpus.tsv").unlink()  # the page writes it
    (recipe / "english.txt").write_text("a red dog runs over green grass\ntwo children play ball\n")
    training = yaml.safe_load((recipe / "conf" / "tiny.yaml").read_text())
    training |= {
        "speech_encoder_conf": {"model": "models/hubert"},
        "clip_conf": {
            "model": "models/tiny_clip.json",
            "pretrained": "models/tiny_clip.safetensors",
        },
        "model_conf": {"parallel": True, "naming_weight": 1.0},  # which the text makes possible
        "max_epoch": 1,
    }
    named = recipe / "conf" / "tuning" / "mhubert_hybrid_plus_annealed.yaml"
    named.write_text(yaml.safe_dump(training))
    monkeypatch.chdir(recipe)
    run_page(PROJECT / "docs" / "tutorials" / "unwritten.md")
    assert not (recipe / "data" / "custom_my_language_train" / "text").exists()
    printed = capfd.readouterr().out
    assert "24 recordings of 12 images" in printed
    assert "This model learned from speech in sw." in printed
    with (recipe / "words.tsv").open() as file:
        words = list(csv.DictReader(file, dialect="excel-tab"))
    assert len({row["recording"] for row in words}) == 24
    assert {row["word"] for row in words} <= set((recipe / "english.txt").read_text().split())
    with (recipe / "glossary" / "glossary.tsv").open() as file:
        places = list(csv.DictReader(file, dialect="excel-tab"))
    assert places and all((recipe / "glossary" / row["snippet"]).is_file() for row in places)
    assert min(float(row["score"]) for row in places) >= 0.1
    assert "speech in sw" in (recipe / "glossary" / "index.html").read_text()


def test_lines_of_a_failing_block_are_the_pages(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n")
    assert [(language, line) for language, line, _ in blocks(page)] == [
        ("python", 4),
        ("python", 8),
    ]
    with pytest.raises(AssertionError) as caught:
        run_page(page)
    assert caught.traceback[-1].lineno + 1 == 8
