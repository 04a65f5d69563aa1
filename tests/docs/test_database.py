"""Each database of the page finds what a comparison with all rows finds."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
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
LOCAL, SERVER = 'path="images.qdrant"', '"http://localhost:6333"'
PACKAGES = {
    "LanceDB": "lancedb",
    "Qdrant": "qdrant_client",
    "PostgreSQL with pgvector": "psycopg",
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
    soundfile.write(folder / "query.wav", 0.1 * rng.normal(size=24000), 16000)
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
    scores = np.array([row["row"] for row in images], np.float32) @ query
    order = np.argsort(-scores)[:3]
    return [f"{scores[n]:.3f} {images[n]['path'].decode()}" for n in order]


def answer(heading: str, capsys: pytest.CaptureFixture[str], *replaced: str) -> list[str]:
    """Fills a database and asks it, as two programs; returns the lines that are printed."""
    fill, ask = section(heading)
    for language, line, text in (fill, ask):
        capsys.readouterr()
        run_block(PAGE, (language, line, text.replace(*replaced) if replaced else text), {})
    return capsys.readouterr().out.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("heading", ["LanceDB", "Qdrant", "FAISS", "DuckDB"])
def test_a_database_without_a_server(heading: str, expected: list[str], capsys) -> None:
    pytest.importorskip(PACKAGES[heading])
    assert answer(heading, capsys) == expected


@pytest.mark.slow
def test_a_server_of_qdrant(expected: list[str], capsys) -> None:
    qdrant = pytest.importorskip("qdrant_client")
    with socket.socket() as tried:
        if tried.connect_ex(("localhost", 6333)):
            pytest.skip("no server of Qdrant at localhost:6333")
    try:
        assert answer("Qdrant", capsys, LOCAL, SERVER) == expected
    finally:
        qdrant.QdrantClient("http://localhost:6333").delete_collection("media")


@pytest.fixture
def postgres(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server of this machine's PostgreSQL, for this test alone."""
    vectors = sorted(Path("/usr/share/postgresql").glob("*/extension/vector.control"))
    if not vectors:
        pytest.skip("no PostgreSQL with pgvector: apt-get install postgresql-17-pgvector")
    programs = Path("/usr/lib/postgresql", vectors[-1].parts[-3], "bin")
    user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory() as made:
        if user:
            shutil.chown(made, **user)

        def run(*command: str) -> None:
            command = (str(programs / command[0]), *command[1:])
            subprocess.run(command, check=True, cwd=made, stdout=subprocess.DEVNULL, **user)

        run("initdb", "-D", f"{made}/data", "-U", "me", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={made} -c fsync=off"
        run("pg_ctl", "start", "-w", "-D", f"{made}/data", "-o", options, "-l", f"{made}/log")
        monkeypatch.setenv("PGHOST", made)
        monkeypatch.setenv("PGUSER", "me")
        try:
            yield
        finally:
            run("pg_ctl", "stop", "-m", "immediate", "-D", f"{made}/data")


@pytest.mark.slow
def test_pgvector(postgres: None, expected: list[str], capsys) -> None:
    pytest.importorskip("psycopg")
    assert answer("PostgreSQL with pgvector", capsys) == expected


def test_each_section_is_run() -> None:
    headings = [line[3:] for line in PAGE.read_text("utf-8").splitlines() if line.startswith("## ")]
    assert headings == list(PACKAGES)
    for heading in headings:
        assert [language for language, *_ in section(heading)] == ["python", "python"]
        for *_, text in section(heading):
            assert len([line for line in text.splitlines() if line]) <= 10
