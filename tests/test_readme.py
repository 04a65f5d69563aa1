"""The Python of README.md runs, from any directory."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from espnet_plugin.model.factory import build_speechclip
from espnet_plugin.pretrained import save_speechclip
from tests.pages import PROJECT, blocks
from tests.tiny import tiny_hybrid_plus_config

BLOCKS = [text for language, _, text in blocks(PROJECT / "README.md") if language == "python"]


# an extractor with times, as make demo leaves it, and hybrid's, whose keywords have none
EXTRACTORS = {"cif": {"frames_per_keyword": 4}, "cls": {"num_keywords": 3}}


@pytest.fixture(params=EXTRACTORS)
def recipe(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """What the blocks find after ``make demo``, with a model that has learned nothing."""
    recipe = tmp_path / "recipe"
    config = {
        **tiny_hybrid_plus_config(tmp_path),
        "keyword_extractor": request.param,
        "keyword_extractor_conf": EXTRACTORS[request.param],
    }
    model = build_speechclip(config).eval()
    save_speechclip(model, config, tmp_path / "model")
    packed = recipe / "exp" / "speechclip_mini_hybrid_plus_annealed" / "model"
    shutil.make_archive(str(packed), "zip", tmp_path / "model")
    for folder in ("wavs", "images"):
        (recipe / "downloads" / "mini" / folder).mkdir(parents=True)
    rng = np.random.RandomState(0)
    wav = recipe / "downloads" / "mini" / "wavs" / "test_00000_0.wav"
    soundfile.write(wav, 0.1 * rng.randn(8000), 16000)
    for number in range(3):
        pixels = rng.randint(0, 256, (32, 32, 3)).astype(np.uint8)
        picture = recipe / "downloads" / "mini" / "images" / f"test_0000{number}.png"
        Image.fromarray(pixels).save(picture)
    return recipe


def test_python_block(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (block,) = BLOCKS
    block, found = re.subn(r"^recipe = .*$", f"recipe = Path({str(recipe)!r})", block, flags=re.M)
    assert found == 1
    exec(compile(block, "README.md", "exec"), {})
    first, *keywords = capsys.readouterr().out.splitlines()
    assert first.startswith("test_0000") and keywords
