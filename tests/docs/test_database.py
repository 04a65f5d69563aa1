"""Each database of the page that needs no server finds what a comparison with all rows finds."""

from __future__ import annotations

import shutil
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
MODEL = "flickr8k-base-hybrid-plus"
PACKAGES = {
    "LanceDB": "lancedb",
    "Qdrant": "qdrant_client",
    "FAISS": "faiss",
    "DuckDB": "duckdb",
}


def section(heading: str) -> list[tuple[str, int, str]]:
    """The blocks below a heading; before the first one: those below ""."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    above = {
        line: next((text[3:] for text in lines[line::-1] if text.startswith("## ")), "")
        for _, line, _ in blocks(PAGE)
    }
    return [block for block in blocks(PAGE) if above[block[1]] == heading]


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
    shutil.copy(folder / "query.wav", folder / "Interviews")  # nearer than any picture
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (command,) = section("")
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
    """The three pictures nearest to the recording, as the page's blocks print them."""
    query = SpeechCLIP.from_pretrained(MODEL).encode_speech("query.wav")[0]
    rows = pq.read_table("parts/part-1-of-1.parquet").to_pylist()
    assert len(rows) == 10
    images = [row for row in rows if row["start"] is None]
    scores = np.array([row["vector"] for row in images], np.float32) @ query
    order = np.argsort(-scores)[:3]
    return [f"{scores[n]:.3f} {images[n]['path'].decode()}" for n in order]


def answer(heading: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Fills a database and asks it, as two programs; returns the lines that are printed."""
    fill, ask = section(heading)
    for block in (fill, ask):
        capsys.readouterr()
        run_block(PAGE, block, {})
    return capsys.readouterr().out.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("heading", PACKAGES)
def test_a_database_without_a_server(heading: str, expected: list[str], capsys) -> None:
    pytest.importorskip(PACKAGES[heading])
    assert answer(heading, capsys) == expected
