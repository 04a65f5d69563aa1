"""The Python of README.md runs, from any directory, and prints what README.md says."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from local.digits.strings import draw_pictures, draw_strings

from espnet_plugin.apps.search.query import embed_query
from tests.pages import PROJECT, blocks

RECIPE = PROJECT / "egs2" / "speechclip_plus"
README = (PROJECT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The recipe with the model that the repository holds, and the test images of `make page`."""
    recipe = tmp_path / "recipe"
    folder = recipe / "downloads" / "digits"
    (folder / "images").mkdir(parents=True)
    (recipe / "models").symlink_to(RECIPE / "models")
    strings = draw_strings(0)
    draw_pictures({**dict.fromkeys(strings, []), "test": strings["test"]}, folder, seed=0)
    return recipe


def test_python_block(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (block,) = [text for language, _, text in blocks(PROJECT / "README.md") if language == "python"]
    block, found = re.subn(r"^recipe = .*$", f"recipe = Path({str(recipe)!r})", block, flags=re.M)
    assert found == 1
    names: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 4
    assert f"\n\n{textwrap.indent(printed, chr(32) * 4)}\n" in README
    # the search that README shows ranks by the branch selected on dev
    model, (image,) = names["model"], recipe.glob(f"downloads/*/images/{printed.splitlines()[0]}")
    score = model.encode_image(image)[0] @ embed_query(model, [str(names["speech"])], [], []).vector
    assert model.branch is not None
    (shown,) = re.findall(rf"  1  ([\d.]+)  …/downloads/digits/images/{image.name}", README)
    assert float(shown) == pytest.approx(score, abs=0.001)  # an index rounds its rows
