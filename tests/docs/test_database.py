"""Each database that needs no server finds what a comparison with all rows finds."""

from __future__ import annotations

import ast
import runpy
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from espnet_plugin import SpeechCLIP
from tests.pages import PROJECT, blocks, run_block
from tests.s3prl_upstream.conftest import exported  # noqa: F401

pq = pytest.importorskip("pyarrow.parquet")

PAGE = PROJECT / "docs" / "database.md"
EXAMPLES = PROJECT / "docs" / "examples"
MODEL = "flickr8k-base-hybrid-plus"
PACKAGES = {"duckdb_search": "duckdb", "faiss_search": "faiss", "qdrant_search": "qdrant_client"}


@pytest.fixture(scope="module")
def embedded(
    tmp_path_factory: pytest.TempPathFactory,
    exported: Callable[..., Path],  # noqa: F811
) -> Path:
    """A folder with what the page's command names, and with the parts that it writes."""
    folder, rng = tmp_path_factory.mktemp("database"), np.random.default_rng(0)
    shutil.copytree(exported("hybrid+"), folder / MODEL)
    (folder / "Pictures").mkdir()
    for number in range(9):
        pixels = rng.integers(0, 255, (40, 48, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "Pictures" / f"it's {number}.png")
    (folder / "Interviews").mkdir()
    speech = np.convolve(rng.normal(0, 0.1, 24000), np.full(4, 0.5))  # not white, as noise is
    soundfile.write(folder / "query.wav", speech, 16000)
    shutil.copy(folder / "query.wav", folder / "Interviews")  # nearer than any image
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        command, *_ = blocks(PAGE)
        run_block(PAGE, command, {})
    return folder


@pytest.fixture
def workspace(embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory of the test's own, where the databases go."""
    for path in embedded.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def expected(workspace: Path) -> list[str]:
    """The three images nearest to the recording, as the page's blocks print them."""
    query = SpeechCLIP.from_pretrained(MODEL).encode_speech("query.wav")[0]
    rows = pq.read_table("parts/part-1-of-1.parquet").to_pylist()
    assert len(rows) == 10
    images = [row for row in rows if row["start"] is None]
    scores = np.array([row["vector"] for row in images], np.float32) @ query
    order = np.argsort(-scores)[:3]
    return [f"{scores[n]:.3f} {images[n]['path'].decode()}" for n in order]


@pytest.mark.slow
def test_the_pages_blocks(expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lancedb")
    _, compare, fill, ask = blocks(PAGE)
    for block, printed in ((compare, expected), (fill, []), (ask, expected)):
        capsys.readouterr()
        run_block(PAGE, block, {})  # as a program of its own
        assert capsys.readouterr().out.splitlines() == printed


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_an_example_without_a_server(
    name: str,
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip(PACKAGES[name])
    printed = []
    for command in commands(EXAMPLES / f"{name}.py"):
        monkeypatch.setattr(sys, "argv", command)
        capsys.readouterr()
        runpy.run_path(str(EXAMPLES / command[0]), run_name="__main__")
        printed.append(capsys.readouterr().out.splitlines())
    assert printed == [[], expected]


def commands(example: Path) -> list[list[str]]:
    """Words behind ``python`` of each command of an example's docstring."""
    described = ast.get_docstring(ast.parse(example.read_text(encoding="utf-8"))) or ""
    lines = map(str.strip, described.splitlines())
    return [shlex.split(line)[1:] for line in lines if line.startswith("python ")]


def test_every_example_is_on_a_page_and_says_how_to_run_it() -> None:
    pages = [page.read_text(encoding="utf-8") for page in (PAGE, PAGE.with_name("mteb.md"))]
    for example in EXAMPLES.glob("*.py"):
        assert any(f"](examples/{example.name})" in page for page in pages), example
        assert all(Path(name).name == example.name for name, *_ in commands(example)), example
        assert commands(example), example
