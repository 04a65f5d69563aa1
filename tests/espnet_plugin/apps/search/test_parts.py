from __future__ import annotations

import errno
import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from espnet_plugin.apps.search.catalog import Window
from espnet_plugin.apps.search.index import Index
from espnet_plugin.apps.search.model import IndexedModel
from espnet_plugin.apps.search.update import Embedded, Windows
from espnet_plugin.data.record import VERSIONS
from espnet_plugin.data.words import SpokenWord
from espnet_plugin.utils.errors import DataError
from tests.espnet_plugin.apps.search.conftest import MODEL, PixelEncoder, picture, update

parquet = pytest.importorskip("pyarrow.parquet")

from espnet_plugin.apps.search.parts import (  # noqa: E402
    KEY,
    Part,
    embed_part,
    files_of_part,
    open_parts,
    read_part,
)

WORD = SpokenWord("dog", 0.5, 0.25, 0.75)


def embed_recording(path: str) -> Windows:
    """Two windows, whose vectors follow from the content."""
    rows = np.random.default_rng(Path(path).stat().st_size).standard_normal((2, 48))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), [Window(0.0, 1.5, (WORD,)), Window(1.5, 2.0)]


def embed(source: Path, output: Path, part: tuple[int, int] = (1, 1), **options: Any) -> Part:
    options = {"model": MODEL, "encoder": PixelEncoder(), **options}
    return embed_part([str(source)], output, part=part, embed_recording=embed_recording, **options)


def files_of(parts: Path) -> Iterator[Embedded]:
    return open_parts(parts)[1]


def rows_of(parts: Path) -> list[dict]:
    files = sorted(parts.glob("*.parquet"))
    return [row for file in files for row in parquet.read_table(file).to_pylist()]


def skipped(parts: Path) -> dict[str, str]:
    found = {}
    for file in sorted(parts.glob("*.parquet")):
        found |= read_part(file).skipped
    return found


@pytest.fixture
def job(pictures: Path, tmp_path: Path) -> Path:
    """Three parts of pictures, a recording, and two files that cannot be read."""
    (pictures / "a.wav").write_bytes(b"recording")
    (pictures / "bad.jpg").write_bytes(b"no picture")
    (pictures / "gone.png").symlink_to("absent.png")
    for part in (1, 2, 3):
        embed(pictures, tmp_path / "parts", (part, 3))
    return tmp_path / "parts"


def test_a_part_holds_what_the_page_says(pictures: Path, tmp_path: Path) -> None:
    (pictures / "a.wav").write_bytes(b"recording")
    part = embed(pictures, tmp_path / "parts")
    assert part == Part(1, 1, MODEL, (str(pictures),), {}, VERSIONS["index"])
    (file,) = (tmp_path / "parts").iterdir()
    assert file.name == "part-1-of-1.parquet" and read_part(file) == part
    rows = rows_of(tmp_path / "parts")
    assert list(rows[0]) == ["path", "hash", "start", "end", "words", "vector"]
    spoken = [row for row in rows if row["path"].endswith(b"a.wav")]
    assert [(row["start"], row["end"]) for row in spoken] == [(0.0, 1.5), (1.5, 2.0)]
    assert json.loads(spoken[0]["words"]) == [vars(WORD)]
    assert spoken[0]["hash"] == sha256(b"recording").digest()
    encoder, image = PixelEncoder(), str(pictures / "sub0" / "2.png")
    (first,) = [row for row in rows if row["path"] == image.encode()]
    (wanted,) = encoder.encode([encoder.read(image)])
    assert np.array_equal(first["vector"], wanted.astype(np.float16)) and first["start"] is None
    assert len(rows) == 9


def test_each_file_is_in_one_part_whatever_else_is_there(pictures: Path) -> None:
    (pictures / "a.wav").touch()
    (pictures / "notes.txt").touch()
    source = [str(pictures)]
    everything = list(files_of_part(source, 1, 1))
    of_parts = [list(files_of_part(source, part, 3)) for part in (1, 2, 3)]
    assert len(everything) == 8 and sum(map(bool, of_parts)) > 1
    assert sorted(sum(of_parts, [])) == sorted(everything)
    new = picture(pictures / "another.png", 9)
    again = [[f for f in files_of_part(source, part, 3) if f != str(new)] for part in (1, 2, 3)]
    assert again == of_parts
    assert list(files_of_part([str(new)], 1, 1)) == [str(new)]


def test_no_source(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for source, message in (
        (tmp_path / "absent", "absent: no folder, image or recording"),
        (tmp_path / "notes.txt", "notes.txt: no folder, image or recording"),
        (tmp_path, r"no image and no recording below it; passed over: 1 × \.txt"),
    ):
        with pytest.raises(DataError, match=message):
            list(files_of_part([str(source)], 1, 1))


def test_bad_files_are_listed_and_skipped(job: Path, pictures: Path) -> None:
    bad = skipped(job)
    assert sorted(bad) == [str(pictures / "bad.jpg"), str(pictures / "gone.png")]
    assert bad[str(pictures / "bad.jpg")].startswith("not an image that can be read")
    assert "No such file" in bad[str(pictures / "gone.png")]
    assert len(rows_of(job)) == 9


def test_a_complete_part_stays_and_an_interrupted_one_leaves_nothing(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr("espnet_plugin.apps.search.parts.BATCH", 2)
    caplog.set_level("INFO")
    parts = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        embed(pictures, parts, encoder=PixelEncoder(fail_after=2))
    assert not parts.exists()
    parts.mkdir()
    (parts / ".part-1-of-1.0123.part.parquet").write_bytes(b"of a killed process")
    encoder = PixelEncoder()
    embed(pictures, parts, encoder=encoder)
    assert len(encoder.read_files) == 7
    assert [path.name for path in parts.iterdir()] == ["part-1-of-1.parquet"]
    embed(pictures, tmp_path / "undisturbed")
    name = "part-1-of-1.parquet"
    assert (parts / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    embed(pictures, parts, encoder=encoder)
    assert len(encoder.read_files) == 7 and "complete, left as it is" in caplog.text


def test_another_process_completes_the_part_and_tidies_up(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(table: Any, path: Path, **options: Any) -> None:
        monkeypatch.undo()
        embed(pictures, tmp_path / "parts")
        raise FileNotFoundError(path)

    monkeypatch.setattr(parquet, "write_table", overtaken)
    part = embed(pictures, tmp_path / "parts")
    (file,) = (tmp_path / "parts").iterdir()
    assert read_part(file) == part


def test_a_full_disk_is_not_the_items_fault(pictures: Path, tmp_path: Path) -> None:
    class Full(PixelEncoder):
        def read(self, path):
            raise OSError(errno.ENOSPC, "No space left on device", path)

    with pytest.raises(OSError, match="No space left"):
        embed(pictures, tmp_path / "parts", encoder=Full())


def test_a_file_that_is_named_twice_has_one_row(pictures: Path, tmp_path: Path) -> None:
    files = [str(pictures / "sub0" / name) for name in ("0.jpg", "2.png", "0.jpg")]
    options: dict[str, Any] = {"model": MODEL, "embed_recording": embed_recording}
    embed_part(files, tmp_path / "parts", part=(1, 1), encoder=PixelEncoder(), **options)
    assert [row["path"].decode() for row in rows_of(tmp_path / "parts")] == files[:2]


def test_a_folder_with_that_part_of_another_job(job: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"part-1-of-3.parquet: of another job, with fingerprint"):
        embed(pictures, job, (1, 3), model=IndexedModel("other", "b" * 64))
    with pytest.raises(DataError, match=r"part-1-of-3.parquet: of another job, with sources"):
        embed(picture(tmp_path / "x" / "x.png", 1).parent, job, (1, 3))


def test_a_part_without_items(tmp_path: Path) -> None:
    source = picture(tmp_path / "pictures" / "x.png", 1).parent
    for part in (1, 2):
        embed(source, tmp_path / "parts", (part, 2))
    assert len(rows_of(tmp_path / "parts")) == 1
    merged = update(tmp_path / "index", embedded=files_of(tmp_path / "parts"))
    assert merged.images == 1


def test_merging_equals_an_index_made_from_the_files(
    job: Path, pictures: Path, tmp_path: Path
) -> None:
    encoder = PixelEncoder()
    merged = update(tmp_path / "merged", encoder=encoder, embedded=files_of(job))
    assert encoder.read_files == []
    assert (merged.merged, merged.images, merged.recordings, merged.windows) == (8, 7, 1, 2)
    update(tmp_path / "direct", pictures, embed_recording=embed_recording)
    for seed in range(20):
        query = np.random.default_rng(seed).standard_normal(48)
        found, wanted = (Index(tmp_path / name).search(query) for name in ("merged", "direct"))
        assert [(hit.path, hit.start, hit.words) for hit in found] == [
            (hit.path, hit.start, hit.words) for hit in wanted
        ]
        assert np.allclose([hit.score for hit in found], [hit.score for hit in wanted], atol=1e-3)
    again = update(tmp_path / "merged", embedded=files_of(job))
    assert (again.images, again.windows) == (7, 2)
    done = update(tmp_path / "merged", pictures, encoder=encoder, embed_recording=embed_recording)
    assert (done.unchanged, done.embedded, len(done.unreadable)) == (8, 0, 1)


def test_merging_keeps_why_files_were_left_out(job: Path, pictures: Path, tmp_path: Path) -> None:
    _, files, problems = open_parts(job)
    assert len(problems) == 2  # the other one is a link to nothing
    merged = update(tmp_path / "index", embedded=files, problems=problems)
    assert merged.unreadable.keys() == {str(pictures / "bad.jpg")}
    done = update(tmp_path / "index", pictures, embed_recording=embed_recording)
    assert (done.still_unreadable, len(done.unreadable)) == (1, 0)  # it was tried again


def test_an_interrupted_merge_continues(job: Path, tmp_path: Path) -> None:
    def interrupted() -> Iterator[Embedded]:
        for number, file in enumerate(files_of(job)):
            if number == 5:
                raise KeyboardInterrupt
            yield file

    with pytest.raises(KeyboardInterrupt):
        update(tmp_path / "index", embedded=interrupted())
    assert len(Index(tmp_path / "index")) == 4  # two whole batches
    done = update(tmp_path / "index", embedded=files_of(job))
    assert (done.merged, done.images, done.windows) == (8, 7, 2)


def test_vectors_of_another_length_do_not_damage_an_index(
    job: Path, pictures: Path, tmp_path: Path
) -> None:
    half = type("Half", (PixelEncoder,), {"encode": lambda s, p: PixelEncoder.encode(s, p)[:, :24]})
    update(tmp_path / "index", pictures, encoder=half())
    picture(pictures / "sub0" / "new.png", 70)
    embed(pictures, tmp_path / "more")
    with pytest.raises(DataError, match="index has vectors of 24 numbers, not of these"):
        update(tmp_path / "index", embedded=files_of(tmp_path / "more"))
    assert len(Index(tmp_path / "index")) == 7


def test_files_that_are_not_as_they_were_are_left_out(
    job: Path, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "sub0" / "0.jpg").unlink()
    picture(pictures / "sub1" / "1.png", 100)
    merged = update(tmp_path / "index", embedded=files_of(job))
    assert (merged.merged, merged.elsewhere) == (6, 2)
    assert "2 left out, not here as they were" in str(merged)


def change(job: Path, **values: Any) -> None:
    path = job / "part-2-of-3.parquet"
    table = parquet.read_table(path)
    made = {**json.loads(table.schema.metadata[KEY]), **values}
    parquet.write_table(table.replace_schema_metadata({KEY: json.dumps(made)}), path)


def copy(job: Path, name: str) -> None:
    shutil.copy(job / "part-1-of-3.parquet", job / name)


OTHER = {"name": "x", "fingerprint": "b", "min_score": None}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda job: shutil.rmtree(job), "parts: no parts; make them with"),
        (lambda job: (job / "part-2-of-3.parquet").unlink(), "part 2 of 3 is missing; found: 2"),
        (lambda job: (job / "part-3-of-3.parquet").write_bytes(b"x"), "3.parquet: no part, or dam"),
        (lambda job: change(job, of=4), r"part-2-of-3.parquet: of another job, with of 4 instead"),
        (
            lambda job: change(job, model=OTHER),
            "2-of-3.parquet: of another job, with fingerprint b",
        ),
        (lambda job: change(job, sources=["/x"]), r"another job, with sources \('/x',\) instead"),
        (lambda job: change(job, model={"name": "x"}), "part-2-of-3.parquet: no part, or damaged"),
        (lambda job: change(job, number="../x"), "part-2-of-3.parquet: no part, or damaged"),
        (lambda job: change(job, more=1), "part-2-of-3.parquet: no part, or damaged"),
        (lambda job: copy(job, "part-1-of-3 (copy).parquet"), "a copy of part 1 of 3; remove it"),
        (lambda job: copy(job, "part-2-of-3.parquet"), "a copy of part 1 of 3; remove it"),
    ],
)
def test_parts_that_do_not_belong_together(job: Path, damage, message: str) -> None:
    damage(job)
    with pytest.raises(DataError, match=message):
        open_parts(job)


def test_parts_of_an_earlier_version(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = VERSIONS["index"]
    monkeypatch.setitem(VERSIONS, "index", version + 1)
    message = f"parts: its code: {version} then, {version + 1} now; embed it again"
    with pytest.raises(DataError, match=message):
        open_parts(job)


def test_a_changed_byte_of_a_table_is_noticed(job: Path) -> None:
    path = max(job.iterdir(), key=lambda file: file.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path.name}: no part, or damaged"):
        list(files_of(job))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("vector", [[float("nan")] * 48]),
        ("vector", [[0.0] * 48]),
        ("vector", [None]),
        ("start", [-1.0]),
        ("words", ['[{"word": 5}]']),
        ("words", ["x"]),
        ("words", [None]),
        ("other", [1]),
    ],
)
def test_a_strangers_table(tmp_path: Path, column: str, values: list) -> None:
    import pyarrow

    source = picture(tmp_path / "pictures" / "x.png", 1).parent
    embed(source, tmp_path / "parts")
    path = tmp_path / "parts" / "part-1-of-1.parquet"
    table = parquet.read_table(path)
    if column in table.column_names:
        place = table.column_names.index(column)
        kind = table.schema.field(column)
        table = table.set_column(place, kind, pyarrow.array(values, kind.type))
    else:
        table = table.append_column(column, [values])
    parquet.write_table(table, path)
    with pytest.raises(DataError, match=r"part-1-of-1.parquet: no part, or damaged"):
        list(files_of(tmp_path / "parts"))


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "espnet_plugin.apps.search.parts")
    with pytest.raises(ImportError, match=r"pip install pyarrow \(extra: parts\)"):
        importlib.import_module("espnet_plugin.apps.search.parts")
