"""The code of tutorials runs, on a tiny model, from a folder that holds what they name.

The recipe's tutorial is run by ``.ci/run demo``, on the model that the recipe has trained.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from tests.pages import PROJECT, blocks, run_page
from tests.s3prl_upstream.conftest import exported  # noqa: F401
from tests.sounds import murmur

TUTORIALS = ("espnet.md", "s3prl.md", "tutorials/python.md")


@pytest.fixture
def workspace(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exported: Callable[..., Path],  # noqa: F811
) -> Path:
    """A model, a recording at 44.1 kHz in stereo, three images; the current directory."""
    rng = np.random.default_rng(0)
    for name in ("model", "trained_model"):
        shutil.copytree(exported("hybrid+"), tmp_path / name)
    soundfile.write(tmp_path / "question.wav", np.stack([murmur(66150)] * 2, axis=1), 44100)
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
