from __future__ import annotations

import errno
import importlib
import json
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from espnet_plugin.data.scp import DataError
from espnet_plugin.inference.words import SpokenWord
from espnet_plugin.search.catalog import Window
from espnet_plugin.search.index import Index
from espnet_plugin.search.model import IndexedModel
from espnet_plugin.search.update import Embedded, Windows
from tests.espnet_plugin.search.conftest import MODEL, PixelEncoder, picture, update

parquet = pytest.importorskip("pyarrow.parquet")

from espnet_plugin.search.parts import embed_part, open_parts  # noqa: E402

WORD = SpokenWord("dog", 0.5, 0.25, 0.75)


def embed_recording(path: str) -> Windows:
    """Two windows, whose vectors follow from the content."""
    rows = np.random.default_rng(Path(path).stat().st_size).standard_normal((2, 48))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), [Window(0.0, 1.5, (WORD,)), Window(1.5, 2.0)]


def embed(source: Path, output: Path, part: tuple[int, int] = (1, 1), **options: Any) -> dict:
    options = {"model": MODEL, "encoder": PixelEncoder(), **options}
    return embed_part([str(source)], output, part=part, embed_recording=embed_recording, **options)


def files_of(parts: Path) -> Iterator[Embedded]:
    return open_parts(parts)[1]


def manifests(parts: Path) -> list[dict]:
    return [json.loads(path.read_bytes()) for path in sorted(parts.glob("*.json"))]


@pytest.fixture
def job(pictures: Path, tmp_path: Path) -> Path:
    """Three parts of pictures, a recording, and two files that cannot be read."""
    (pictures / "a.wav").write_bytes(b"recording")
    (pictures / "bad.jpg").write_bytes(b"no picture")
    (pictures / "gone.png").symlink_to("absent.png")
    for part in (1, 2, 3):
        embed(pictures, tmp_path / "parts", (part, 3))
    return tmp_path / "parts"


def test_a_part_holds_what_the_contract_says(pictures: Path, tmp_path: Path) -> None:
    (pictures / "a.wav").write_bytes(b"recording")
    manifest = embed(pictures, tmp_path / "parts")
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [
        "part-1-of-1.json",
        "part-1-of-1.parquet",
    ]
    assert json.loads((tmp_path / "parts" / "part-1-of-1.json").read_bytes()) == manifest
    assert {
        key: manifest[key] for key in ("contract", "part", "of", "model", "dim", "rows", "bad")
    } == {
        "contract": 2,
        "part": 1,
        "of": 1,
        "model": "small",
        "dim": 48,
        "rows": 9,
        "bad": {},
    }
    rows = parquet.read_table(tmp_path / "parts" / "part-1-of-1.parquet").to_pylist()
    spoken = [row for row in rows if row["id"] == b"a.wav"]
    assert [(row["start"], row["end"]) for row in spoken] == [(0.0, 1.5), (1.5, 2.0)]
    assert json.loads(spoken[0]["keywords"]) == [vars(WORD)]
    first = next(row for row in rows if row["id"] == b"sub0/2.png")
    encoder = PixelEncoder()
    file = pictures / "sub0" / "2.png"
    (wanted,) = encoder.encode([encoder.read(str(file))])
    assert np.array_equal(first["row"], wanted.astype(np.float16))
    assert (first["path"], first["start"]) == (str(file).encode(), None)


def test_bad_items_are_listed_and_skipped(job: Path, pictures: Path) -> None:
    bad = {name: reason for part in manifests(job) for name, reason in part["bad"].items()}
    assert sorted(bad) == [str(pictures / "bad.jpg"), str(pictures / "gone.png")]
    assert bad[str(pictures / "bad.jpg")].startswith("not an image that can be read")
    assert "No such file" in bad[str(pictures / "gone.png")]
    assert sum(part["rows"] for part in manifests(job)) == 9


def test_a_complete_part_stays_and_an_interrupted_one_leaves_nothing(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr("espnet_plugin.search.parts.BATCH", 2)
    caplog.set_level("INFO")
    with pytest.raises(KeyboardInterrupt):
        embed(pictures, tmp_path / "parts", encoder=PixelEncoder(fail_after=2))
    assert not (tmp_path / "parts").exists()
    encoder = PixelEncoder()
    embed(pictures, tmp_path / "parts", encoder=encoder)
    assert len(encoder.read_files) == 7
    embed(pictures, tmp_path / "undisturbed")
    name = "part-1-of-1.parquet"
    assert (tmp_path / "parts" / name).read_bytes() == (
        tmp_path / "undisturbed" / name
    ).read_bytes()
    embed(pictures, tmp_path / "parts", encoder=encoder)
    assert len(encoder.read_files) == 7 and "complete, left as it is" in caplog.text
    (tmp_path / "parts" / name).write_bytes(b"damaged")
    embed(pictures, tmp_path / "parts")
    assert (tmp_path / "parts" / name).read_bytes() == (
        tmp_path / "undisturbed" / name
    ).read_bytes()


def test_a_part_that_another_process_completes_meanwhile(pictures: Path, tmp_path: Path) -> None:
    class Overtaken(PixelEncoder):
        def encode(self, pictures):
            wanted.append(embed(picture_folder, tmp_path / "parts"))
            return super().encode(pictures)

    picture_folder, wanted = pictures, []
    assert embed(pictures, tmp_path / "parts", encoder=Overtaken()) == wanted[0]
    assert len(list((tmp_path / "parts").iterdir())) == 2


def test_another_process_tidies_up_while_a_table_is_written(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(table: Any, path: Path, **options: Any) -> None:
        monkeypatch.undo()
        shutil.rmtree(tmp_path / "parts" / "part-1-of-1.unfinished")
        wanted.append(embed(pictures, tmp_path / "parts"))
        raise FileNotFoundError(path)

    wanted: list[dict] = []
    monkeypatch.setattr(parquet, "write_table", overtaken)
    assert embed(pictures, tmp_path / "parts") == wanted[0]
    assert len(list((tmp_path / "parts").iterdir())) == 2


def test_a_full_disk_is_not_the_items_fault(pictures: Path, tmp_path: Path) -> None:
    class Full(PixelEncoder):
        def read(self, path):
            raise OSError(errno.ENOSPC, "No space left on device", path)

    with pytest.raises(OSError, match="No space left"):
        embed(pictures, tmp_path / "parts", encoder=Full())


def test_a_file_that_is_listed_twice_has_one_row(pictures: Path, tmp_path: Path) -> None:
    (pictures / "list.txt").write_text("sub0/0.jpg\nsub0/2.png\nsub0/0.jpg\n")
    assert embed(pictures / "list.txt", tmp_path / "parts")["rows"] == 2


def test_a_folder_with_that_part_of_another_job(job: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"part-1-of-3.json: of another fingerprint; name a new"):
        embed(pictures, job, (1, 3), model=IndexedModel("other", "b" * 64))
    with pytest.raises(DataError, match=r"part-1-of-3.json: of another source"):
        embed(picture(tmp_path / "x" / "x.png", 1).parent, job, (1, 3))


def test_a_part_without_items(tmp_path: Path) -> None:
    source = picture(tmp_path / "pictures" / "x.png", 1).parent
    rows = {part: embed(source, tmp_path / "parts", (part, 2))["rows"] for part in (1, 2)}
    assert sorted(rows.values()) == [0, 1]
    merged = update(tmp_path / "index", embedded=files_of(tmp_path / "parts"))
    assert merged.images == 1


def test_members_of_shards(pictures: Path, tmp_path: Path) -> None:
    tar = tmp_path / "shards" / "0.tar"
    tar.parent.mkdir()
    with tarfile.open(tar, "w") as made:
        made.add(pictures / "sub0" / "2.png", "x/2.png")
        made.add(pictures / "sub1" / "1.png", "1.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with tarfile.open(tar, "a") as made:
        made.add(tmp_path / "bad.png", "bad.png")
    manifest = embed(tar.parent, tmp_path / "parts")
    assert list(manifest["bad"]) == [f"{tar}: bad.png"]
    members = parquet.read_table(tmp_path / "parts" / "part-1-of-1.parquet").to_pylist()
    embed(pictures, tmp_path / "files")
    files = parquet.read_table(tmp_path / "files" / "part-1-of-1.parquet").to_pylist()
    by_content = {row["content"]: row["row"] for row in files}
    assert [(row["id"], row["path"]) for row in members] == [
        (b"x/2.png", str(tar).encode()),
        (b"1.png", str(tar).encode()),
    ]
    assert all(by_content[row["content"]] == row["row"] for row in members)
    merged = update(tmp_path / "index", embedded=files_of(tmp_path / "parts"))
    assert (merged.merged, merged.elsewhere) == (0, 2)


def test_members_with_long_names_and_with_absurd_sizes(pictures: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as made:
        made.add(pictures / "sub0" / "2.png", "a" * 251 + ".png")
        absurd = tarfile.TarInfo("b.png")
        absurd.size = 1 << 50
        made.fileobj.write(absurd.tobuf(tarfile.GNU_FORMAT) + bytes(512))
    manifest = embed(tmp_path / "0.tar", tmp_path / "parts")
    assert manifest["rows"] == 1
    assert list(manifest["bad"]) == [str(tmp_path / "0.tar")]


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


def rename_manifest(job: Path) -> None:
    shutil.copy(job / "part-1-of-3.json", job / "part-1-of-3 (copy).json")


def other_model(job: Path) -> None:
    change(job, fingerprint="b" * 64)


def change(job: Path, **values: Any) -> None:
    path = job / "part-2-of-3.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **values}))


def double(job: Path) -> None:
    for end in ("json", "parquet"):
        shutil.copy(job / f"part-1-of-3.{end}", job / f"part-2-of-3.{end}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda job: shutil.rmtree(job), "parts: no parts; make them with"),
        (lambda job: (job / "part-2-of-3.json").unlink(), "part 2 of 3 is missing; found: 2"),
        (lambda job: (job / "part-3-of-3.parquet").unlink(), r"part-3-of-3.parquet: missing or ch"),
        (
            lambda job: (job / "part-3-of-3.parquet").write_bytes(b"x"),
            "parquet: missing or changed",
        ),
        (lambda job: change(job, of=4), r"part-2-of-3.json: of is 4, but 3 in part 1"),
        (lambda job: change(job, fingerprint="b"), "fingerprint is b, but a+ in part 1; keep"),
        (lambda job: change(job, source=["/x"]), r"source is \['/x'\], but"),
        (lambda job: change(job, contract=1), r"no manifest of a part \(another version\)"),
        (lambda job: change(job, dim="../x"), r"no manifest of a part \(dim is \.\./x\)"),
        (lambda job: (job / "part-2-of-3.json").write_text("[1]"), "no manifest of a part"),
        (rename_manifest, r"\(copy\).json: a copy of part 1 of 3; remove it"),
        (double, "part-2-of-3.json: a copy of part 1 of 3; remove it"),
    ],
)
def test_parts_that_do_not_belong_together(job: Path, damage, message: str) -> None:
    damage(job)
    with pytest.raises(DataError, match=message):
        open_parts(job)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("row", [[float("nan")] * 48]),
        ("row", [[0.0] * 48]),
        ("row", [None]),
        ("start", [-1.0]),
        ("keywords", ['[{"word": 5}]']),
        ("keywords", ["x"]),
        ("keywords", [None]),
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
    from hashlib import sha256

    manifest = path.with_suffix(".json")
    digest = sha256(path.read_bytes()).hexdigest()
    manifest.write_text(json.dumps({**json.loads(manifest.read_bytes()), "parquet": digest}))
    with pytest.raises(DataError, match=r"part-1-of-1.parquet: no part, or damaged"):
        list(files_of(tmp_path / "parts"))


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "espnet_plugin.search.parts")
    with pytest.raises(ImportError, match=r"pip install pyarrow \(extra: parts\)"):
        importlib.import_module("espnet_plugin.search.parts")
