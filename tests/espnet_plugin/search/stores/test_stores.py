"""Real stores, made by their own libraries, find what the own index finds."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.catalog import Catalog, State, Window
from espnet_plugin.search.folders import stamp_of
from espnet_plugin.search.index import Hit, Index
from espnet_plugin.search.stores import is_store, open_index
from espnet_plugin.search.stores.store import Store, canonical_clip
from espnet_plugin.search.vectors import vectors_file, write_rows

CLIP = "ViT-B-32/openai"
ROWS, DIM, TOP = 3000, 32, 10


@dataclass
class Case:
    """Images, their vectors of any length, queries, and what the own index finds."""

    folder: Path
    paths: list[str]
    unit: np.ndarray
    vectors: np.ndarray
    queries: np.ndarray
    expected: list[list[Hit]]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((60, DIM))
    rows = centers[rng.integers(0, 60, ROWS)] + 0.7 * rng.standard_normal((ROWS, DIM))
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    folder = tmp_path_factory.mktemp("case")
    paths = [str(folder / f"it's {number}.jpg") for number in range(ROWS)]
    (folder / "index").mkdir()
    (folder / "index" / "vectors-0.f32").touch()  # exact, as in indexes of earlier versions
    catalog = Catalog(folder / "index", create=True)
    write_rows(vectors_file(folder / "index", 0), 0, unit)
    with catalog.transaction():
        catalog.set_state(State(model="m", fingerprint="f", dim=DIM))
        for row, path in enumerate(paths):
            Path(path).touch()
            catalog.add_vector(row, row.to_bytes(32, "big"), Window())
            catalog.put(path, str(stamp_of(path)), row.to_bytes(32, "big"))
    index = Index(folder / "index")
    queries = unit[rng.integers(0, ROWS, 20)] + 0.1 * rng.standard_normal((20, DIM))
    expected = [index.search(query, top=TOP) for query in queries]
    lengths = rng.uniform(0.2, 20, (ROWS, 1)).astype(np.float32)
    return Case(folder, paths, unit, unit * lengths, queries, expected)


def check(store: Store | Index, case: Case) -> None:
    """At least 99 % of the ten nearest agree, and so do the scores."""
    found = [store.search(query, top=TOP) for query in case.queries]
    same = [
        len({hit.path for hit in ours} & {hit.path for hit in theirs}) / TOP
        for ours, theirs in zip(case.expected, found, strict=True)
    ]
    assert np.mean(same) >= 0.99
    best = [[hits[0].score for hits in each] for each in (case.expected, found)]
    np.testing.assert_allclose(*best, atol=1e-5)
    assert store.search(case.queries[0], top=3) == found[0][:3]
    assert store.search(case.queries[0], kind="recording") == []
    with pytest.raises(ValueError, match=r"shape \(5,\); .* holds vectors of 32 numbers"):
        store.search(np.ones(5))


def lancedb(case: Case, folder: Path) -> str:
    made = pytest.importorskip("lancedb").connect(folder)
    rows = zip(case.paths, case.vectors, strict=True)
    made.create_table("photos", [{"image_uri": "x", "file": p, "vector": v} for p, v in rows])
    return f"lancedb:{folder}"


def lancedb_approximate(case: Case, folder: Path) -> str:
    made = lancedb(case, folder)
    table = pytest.importorskip("lancedb").connect(folder).open_table("photos")
    from lancedb.index import IvfFlat

    table.create_index("vector", config=IvfFlat(distance_type="l2", num_partitions=8))
    return f"{made}#photos"


def qdrant(case: Case, folder: Path, *, using: str | None = None) -> str:
    package = pytest.importorskip("qdrant_client")
    models = package.models
    client = package.QdrantClient(path=str(folder))
    size = models.VectorParams(size=DIM, distance="Cosine")
    client.create_collection("photos", vectors_config={using: size} if using else size)
    rows = enumerate(zip(case.paths, case.vectors.tolist(), strict=True))
    client.upsert("photos", [
        models.PointStruct(id=n, vector={using: v} if using else v, payload={"filename": p})
        for n, (p, v) in rows
    ])  # fmt: skip
    client.close()
    return f"qdrant:{folder}#photos"


def qdrant_of_names(case: Case, folder: Path) -> str:
    return qdrant(case, folder, using="image")


def parquet(case: Case, folder: Path) -> str:
    pa = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    table = {"url": [*case.paths, "without"], "embedding": [*case.vectors, None]}
    write_table(pa.table(table), folder / "photos.pq")
    return f"parquet:{folder / 'photos.pq'}"


def parquet_of_two_files(case: Case, folder: Path) -> str:
    """Paths as bytes, vectors of a fixed size."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    for rows in (slice(0, 1000), slice(1000, None)):
        vectors = pa.array(list(case.vectors[rows]), pa.list_(pa.float32(), DIM))
        table = {"path": list(map(os.fsencode, case.paths[rows])), "vector": vectors}
        write_table(pa.table(table), folder / f"{rows.start}.parquet")
    (folder / ".0.1f.part.parquet").write_bytes(b"PAR1 and no more")  # of a killed writer
    return f"parquet:{folder}"


def clip_retrieval(case: Case, folder: Path) -> str:
    pa = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    for name in ("img_emb", "metadata"):
        (folder / name).mkdir()
    for number, rows in enumerate((slice(0, 1000), slice(1000, None))):
        np.save(folder / "img_emb" / f"img_emb_{number}.npy", case.vectors[rows])
        table = pa.table({"image_path": case.paths[rows], "caption": case.paths[rows]})
        write_table(table, folder / "metadata" / f"metadata_{number}.parquet")
    return f"parquet:{folder}"


def faiss_of(factory: str) -> Callable[[Case, Path], str]:
    def make(case: Case, folder: Path) -> str:
        faiss = pytest.importorskip("faiss")
        index = faiss.index_factory(DIM, factory, faiss.METRIC_INNER_PRODUCT)
        index.train(case.unit)
        index.add(case.unit)
        ivf = faiss.try_extract_index_ivf(index)
        if ivf:
            ivf.nprobe = 16
        faiss.write_index(index, str(folder / "image.index"))
        (folder / "paths.txt").write_text("\n".join(case.paths))
        return f"faiss:{folder / 'image.index'}#{folder / 'paths.txt'}"

    return make


def faiss_beside_clip_retrievals_metadata(case: Case, folder: Path) -> str:
    made = faiss_of("Flat")(case, folder)
    shutil.move(folder / "paths.txt", folder / "other.txt")
    clip_retrieval(case, folder)
    return made.partition("#")[0]


def rclip(case: Case, folder: Path, *, version: int | None = 2) -> str:
    """The columns of rclip 3.3, rclip/db.py."""
    pytest.importorskip("pyarrow")
    database = sqlite3.connect(folder / "db.sqlite3")
    database.execute(
        "CREATE TABLE images (id INTEGER PRIMARY KEY, deleted BOOLEAN, filepath TEXT NOT NULL "
        "UNIQUE, modified_at DATETIME NOT NULL, size INTEGER NOT NULL, vector BLOB NOT NULL)"
    )
    database.execute("CREATE TABLE db_version (version INTEGER)")
    if version:
        database.execute("INSERT INTO db_version VALUES (?)", (version,))
    rows = [(None, p, 0, 0, v.tobytes()) for p, v in zip(case.paths, case.unit, strict=True)]
    rows.append((1, "deleted.jpg", 0, 0, case.queries[0].astype(np.float32).tobytes()))
    insert = "INSERT INTO images(deleted, filepath, modified_at, size, vector) VALUES (?,?,?,?,?)"
    database.executemany(insert, rows)
    database.commit()
    return f"rclip:{folder / 'db.sqlite3'}"


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that is possible: Qdrant's local mode waits for the disk at each point."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


MAKERS = {
    "lancedb": lancedb,
    "lancedb with an index of another measure": lancedb_approximate,
    "parquet": parquet,
    "parquet of two files": parquet_of_two_files,
    "clip-retrieval": clip_retrieval,
    "flat": faiss_of("Flat"),
    "ivf": faiss_of("IVF32,Flat"),
    "hnsw": faiss_of("HNSW32,Flat"),
    "faiss beside clip-retrieval's metadata": faiss_beside_clip_retrievals_metadata,
    "rclip": rclip,
    "qdrant": qdrant,
    "qdrant with a name for the vectors": qdrant_of_names,
}


SLOW = {name for name in MAKERS if name.startswith(("lancedb", "qdrant"))}  # to import


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in MAKERS],
)
def test_the_ten_nearest_are_the_own_indexs(name: str, case: Case, folder: Path) -> None:
    check(open_index(MAKERS[name](case, folder), clip=CLIP, trust=True), case)


def test_the_own_index_is_opened_the_same_way(case: Case) -> None:
    assert open_index(str(case.folder / "index")).search(case.queries[0]) == case.expected[0]
    assert not is_store("photos.index")


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A server of this machine's PostgreSQL, for this test alone."""
    pytest.importorskip("psycopg")
    vectors = sorted(Path("/usr/share/postgresql").glob("*/extension/vector.control"))
    if not vectors:
        pytest.skip("no PostgreSQL with pgvector")
    programs = Path("/usr/lib/postgresql", vectors[-1].parts[-3], "bin")
    user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory() as made:
        if user:
            shutil.chown(made, **user)

        def run(*command: str) -> None:
            subprocess.run([programs / command[0], *command[1:]], check=True, cwd=made,
                           stdout=subprocess.DEVNULL, **user)  # fmt: skip

        run("initdb", "-D", f"{made}/data", "-U", "me", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={made} -c fsync=off"
        run("pg_ctl", "start", "-w", "-D", f"{made}/data", "-o", options, "-l", f"{made}/log")
        try:
            yield f"postgresql://me@/postgres?host={made}"
        finally:
            run("pg_ctl", "stop", "-m", "immediate", "-D", f"{made}/data")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vector", "halfvec"])
def test_pgvector_agrees(kind: str, postgres: str, case: Case) -> None:
    import psycopg

    with psycopg.connect(postgres) as database:
        database.execute("CREATE EXTENSION IF NOT EXISTS vector")
        database.execute(f'CREATE TABLE "My {kind}" (id serial, file_path text, emb {kind}({DIM}))')
        rows = zip(case.paths, (str(row.tolist()) for row in case.vectors), strict=True)
        query = f'INSERT INTO "My {kind}" (file_path, emb) VALUES (%s, %s)'
        database.cursor().executemany(query, [*rows, ("without", None)])
    store = open_index(f"{postgres}#My {kind}", clip=CLIP)
    if kind == "vector":
        check(store, case)
        with psycopg.connect(postgres) as database:
            database.execute(f'CREATE INDEX ON "My {kind}" USING hnsw (emb vector_cosine_ops)')
        check(open_index(f"{postgres}#My {kind}", clip=CLIP), case)
    else:  # 16 bits
        assert store.search(case.queries[0])[0].path == case.expected[0][0].path
    with pytest.raises(DataError, match=r"#absent: no such table"):
        open_index(f"{postgres}#absent", clip=CLIP)


WRITTEN = {
    "lancedb": "lancedb:{}#photos",
    "parquet": "parquet:{}/photos.parquet",
    "faiss": "faiss:{}/photos.index",
    "qdrant": "qdrant:{}",
}


def check_writing(name: str, case: Case) -> None:
    """Adds all images, twice, replaces some and removes some."""
    from importlib.util import find_spec

    package = {"lancedb": "lancedb", "qdrant": "qdrant_client", "postgresql": "psycopg"}
    wanted = package.get(name.partition(":")[0], "pyarrow")
    if find_spec(wanted) is None:
        pytest.skip(f"no {wanted}")

    def opened(**options) -> Store:
        return open_index(name, trust=True, **options)

    def files(*, upside_down: int = 0) -> Iterator[tuple]:
        for row, path in enumerate(case.paths):
            turned = row < upside_down
            vector = -case.vectors[row] if turned else case.vectors[row]
            content = (row + turned * ROWS).to_bytes(32, "big")
            yield path, content, (vector[None], [Window()])

    assert opened(clip=CLIP, new=True).copy(files()) == (ROWS, 0)
    assert opened().clip == CLIP
    assert opened().copy(files()) == (0, 0)
    check(opened(), case)
    best = case.expected[0][0]
    with pytest.raises(DataError, match="is of the CLIP ViT-B-32/openai, not of ViT-L/14"):
        opened(clip="ViT-L/14")
    with pytest.raises(DataError, match="takes vectors of 32 numbers, not zero"):
        opened().add(["x"], np.zeros((1, DIM)))
    with pytest.raises(DataError, match="takes vectors of 32 numbers"):
        opened().add(["x"], np.ones((1, 3)))
    opened().add([best.path], 3 * case.queries[:1])  # replaces it
    assert opened().search(case.queries[0], top=1) == [Hit(best.path, pytest.approx(1, abs=1e-5))]
    opened().remove([best.path])
    expected = [hit.path for hit in case.expected[0][1:]]
    assert [hit.path for hit in opened().search(case.queries[0], top=TOP - 1)] == expected
    assert opened().copy(files(upside_down=5)) == (6 - (best.path in case.paths[:5]), 0)
    rest = (file for file in files(upside_down=5) if file[0] != best.path)
    assert opened().copy(rest, [str(case.folder / "elsewhere")]) == (0, 0)
    rest = (file for file in files(upside_down=5) if file[0] != best.path)
    assert opened().copy(rest, [str(case.folder)]) == (0, 1)
    assert [hit.path for hit in opened().search(case.queries[0], top=TOP - 1)] == expected
    opened().add([], np.empty((0, DIM)))
    opened().remove(case.paths)
    assert opened().search(case.queries[0]) == []
    opened().add(["x", "x"], case.queries[:2])  # the last counts
    assert opened().search(case.queries[1]) == [Hit("x", pytest.approx(1, abs=1e-5))]


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITTEN)
def test_images_are_added_replaced_and_removed(kind: str, case: Case, folder: Path) -> None:
    check_writing(WRITTEN[kind].format(folder), case)


@pytest.mark.slow
def test_pgvector_is_written(postgres: str, case: Case) -> None:
    check_writing(f"{postgres}#my photos", case)


@pytest.mark.slow
def test_pgvectors_columns_of_any_length(postgres: str, case: Case) -> None:
    import psycopg

    with psycopg.connect(postgres) as database:
        database.execute("CREATE EXTENSION IF NOT EXISTS vector")
        database.execute("CREATE TABLE free (path text, embedding vector)")
    assert open_index(f"{postgres}#free", clip=CLIP).search(case.queries[0]) == []
    with psycopg.connect(postgres) as database:
        database.execute("INSERT INTO free VALUES ('x', %s)", (str(case.queries[0].tolist()),))
    with pytest.raises(ValueError, match="#free holds vectors of 32 numbers"):
        open_index(f"{postgres}#free", clip=CLIP).search(np.ones(5))
    assert open_index(f"{postgres}#free", clip=CLIP).search(case.queries[0])[0].path == "x"


@pytest.mark.slow
def test_a_password_is_not_shown(postgres: str) -> None:
    with pytest.raises(DataError) as raised:
        open_index(f"{postgres.replace('me@', 'me:secret@')}#absent")
    assert "postgresql://me:***@/" in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.slow
def test_lancedb_replaces_at_once_and_sees_other_writers(case: Case, folder: Path) -> None:
    pytest.importorskip("lancedb")
    name = f"lancedb:{folder}#photos"
    open_index(name, clip=CLIP, new=True).add(case.paths[:3], case.vectors[:3])
    reader = open_index(name)
    before = reader._table.version
    open_index(name).add(case.paths[2:5], case.vectors[2:5])
    assert len(reader.search(case.queries[0])) == 5
    assert reader._table.version == before + 1  # no moment without the third


def test_others_tables_are_not_written(case: Case, tmp_path: Path) -> None:
    store = open_index(parquet(case, tmp_path), clip=CLIP)
    with pytest.raises(DataError, match="was not made by speechclip index, so it is only searched"):
        store.add(["x"], np.ones((1, DIM)))
    (tmp_path / "rclip").mkdir()
    with pytest.raises(DataError, match="so it is only searched"):
        open_index(rclip(case, tmp_path / "rclip")).remove(["x"])


def test_a_faiss_index_follows_its_rows_after_a_kill(case: Case, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    name = f"faiss:{tmp_path / 'photos.index'}"
    open_index(name, clip=CLIP, new=True).add(case.paths[:10], case.vectors[:10])
    older = (tmp_path / "photos.index").read_bytes()
    open_index(name, trust=True).add(case.paths[10:12], case.vectors[10:12])
    (tmp_path / "photos.index").write_bytes(older)  # killed before it was written
    found = open_index(name, trust=True).search(case.vectors[11], top=1)
    assert found == [Hit(case.paths[11], pytest.approx(1, abs=1e-5))]


def test_a_faiss_index_that_is_older_than_its_rows_is_not_mixed_with_them(
    case: Case, tmp_path: Path
) -> None:
    """A replaced row is the last, so the others' numbers change, but not how many there are."""
    pytest.importorskip("pyarrow")
    name, file = f"faiss:{tmp_path / 'photos.index'}", tmp_path / "photos.index"
    open_index(name, clip=CLIP, new=True).add(case.paths[:10], case.vectors[:10])
    older = file.read_bytes()
    open_index(name, trust=True).add(case.paths[:1], case.vectors[20:21])
    file.write_bytes(older)
    for path, vector in ((case.paths[5], case.vectors[5]), (case.paths[0], case.vectors[20])):
        found = open_index(name, trust=True).search(vector, top=1)
        assert found == [Hit(path, pytest.approx(1, abs=1e-5))]
    assert file.read_bytes() == older  # who only reads writes nothing


def test_names_that_are_not_utf8_are_left_out(case: Case, tmp_path: Path, caplog) -> None:
    pytest.importorskip("pyarrow")
    names = [os.fsdecode(name) for name in (b"/x/\xff.jpg", b"/x/\xfe.jpg", "/x/ü.jpg".encode())]
    rows = zip(names, case.vectors, strict=False)
    store = open_index(f"parquet:{tmp_path / 'new.parquet'}", clip=CLIP, new=True)
    assert store.copy([(n, b"1" * 32, (row[None], [Window()])) for n, row in rows]) == (1, 0)
    assert [hit.path for hit in store.search(case.queries[0])] == ["/x/ü.jpg"]
    assert "2 images are left out" in caplog.text


@pytest.mark.parametrize("number", [0, 3])
def test_tables_without_rows_or_with_gaps(number: int, tmp_path: Path) -> None:
    """A path is missing, and a number, as a division by a zero length leaves it."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    paths = pa.array([None, "a", "b"][:number], pa.string())
    rows = [[1.0, 0.0], [0.0, 1.0], [float("nan"), 1.0]][:number]
    table = {"path": paths, "vector": pa.array(rows, pa.list_(pa.float32()))}
    write_table(pa.table(table), tmp_path / "a.parquet")
    store = open_index(f"parquet:{tmp_path / 'a.parquet'}", clip=CLIP)
    assert [hit.path for hit in store.search(np.ones(2))] == ["a"] * bool(number)


def test_an_empty_database_of_rclip(case: Case, tmp_path: Path) -> None:
    name = rclip(Case(case.folder, [], *[case.unit[:0]] * 2, case.queries, []), tmp_path)
    assert open_index(name).search(case.queries[0]) == []


@pytest.mark.slow
def test_points_with_several_vectors(case: Case, folder: Path) -> None:
    package = pytest.importorskip("qdrant_client")
    models, client = package.models, package.QdrantClient(path=str(folder))
    size = models.VectorParams(size=DIM, distance="Cosine")
    client.create_collection("photos", vectors_config={"text": size, "image_embedding": size})
    texts, images = case.unit[:9].tolist(), case.unit[9:18].tolist()
    client.upsert("photos", [
        models.PointStruct(id=n, vector={"text": t, "image_embedding": i}, payload={"path": str(n)})
        for n, (t, i) in enumerate(zip(texts, images, strict=True))
    ])  # fmt: skip
    client.close()
    store = open_index(f"qdrant:{folder}", clip=CLIP, trust=True)
    assert store.search(case.unit[12], top=1) == [Hit("3", pytest.approx(1, abs=1e-5))]


def test_paths_of_a_faiss_index_hold_any_bytes(case: Case, tmp_path: Path) -> None:
    """Some characters end a line for Python's text, but not in a file."""
    name = faiss_of("Flat")(case, tmp_path)
    paths = ["a\u2028.jpg".encode(), "b\x85\x0c.jpg".encode(), b"\xff.jpg"]
    rest = map(os.fsencode, case.paths[3:])
    (tmp_path / "paths.txt").write_bytes(b"\n".join([*paths, *rest]))
    store = open_index(name, clip=CLIP, trust=True)
    for path, vector in zip(paths, case.unit, strict=False):
        assert os.fsencode(store.search(vector, top=1)[0].path) == path


@pytest.mark.slow
def test_points_without_a_payload(case: Case, folder: Path) -> None:
    made = qdrant(case, folder)
    package = pytest.importorskip("qdrant_client")
    client = package.QdrantClient(path=str(folder))
    client.clear_payload("photos", [case.paths.index(case.expected[0][0].path)])
    client.close()
    found = open_index(made, clip=CLIP, trust=True).search(case.queries[0], top=1)
    assert found[0].path == case.expected[0][1].path


def test_a_folder_may_be_called_like_a_store(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="parquet: no index; make one with speechclip index"):
        open_index("parquet")


def test_a_clip_has_one_name() -> None:
    names = ["ViT-B/32", "ViT-B-32/openai", "ViT-B-32-quickgelu/openai", "vit-b-32/openai"]
    assert {canonical_clip(name) for name in names} == {"vit-b-32/openai"}
    assert canonical_clip("ViT-L/14@336px") == canonical_clip("ViT-L-14-336/openai")
    assert canonical_clip("ViT-B-32/laion2b_s34b_b79k") != canonical_clip("ViT-B-32/openai")
    with pytest.raises(ValueError, match="name a CLIP with its weights, as in"):
        canonical_clip("ViT-B-32")


@pytest.mark.parametrize(
    ("version", "clip"), [(None, CLIP), (4, "ViT-B-32-256/datacomp_s34b_b86k")]
)
def test_rclip_says_which_clip_it_is_of(version, clip: str, case: Case, tmp_path: Path) -> None:
    name = rclip(case, tmp_path, version=version)
    assert open_index(name).clip == clip
    with pytest.raises(DataError, match=f"is of the CLIP {clip}, not of ViT-L/14; scores would"):
        open_index(name, clip="ViT-L/14")


def test_another_version_of_rclip_is_not_guessed_at(case: Case, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="version 5 of rclip's database is not known"):
        open_index(rclip(case, tmp_path, version=5))


def test_nothing_is_unpickled_or_read_by_faiss_without_consent(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no index")
    for kind in ("faiss", "qdrant"):
        with pytest.raises(
            ValueError, match="file could run code when it is read. .*--trust_index"
        ):
            open_index(f"{kind}:{tmp_path / 'file'}")
        with pytest.raises(ValueError, match="could run code"):  # no address of a server
            open_index(f"{kind}:{tmp_path}//file")


def test_vectors_that_faiss_cannot_rank_are_named(case: Case, tmp_path: Path, caplog) -> None:
    long = Case(case.folder, case.paths, case.vectors, case.vectors, case.queries, case.expected)
    store = open_index(faiss_of("Flat")(long, tmp_path), clip=CLIP, trust=True)
    store.search(case.queries[0])
    assert "can miss near images: it does not rank by cosine" in caplog.text


def test_what_is_wrong_is_said_with_the_stores_name(case: Case, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    with pytest.raises(DataError, match="absent: no such file or folder"):
        open_index(f"lancedb:{tmp_path / 'absent'}")
    with pytest.raises(DataError, match=f"parquet:{tmp_path}.*: no Parquet file"):
        open_index(f"parquet:{tmp_path}")
    write_table(
        pa.table({"path": list("ab"), "vector": [[1.0], [1.0] * 3]}), tmp_path / "a.parquet"
    )
    with pytest.raises(DataError, match="vectors of 1 and of 3 numbers in one column, vector"):
        open_index(f"parquet:{tmp_path}", clip=CLIP)
    write_table(pa.table({"name": ["a"], "vector": [[1.0, 2.0]]}), tmp_path / "a.parquet")
    store = open_index(f"parquet:{tmp_path}", clip=CLIP)
    with pytest.raises(DataError, match="none of name, vector is a column of the paths: path, "):
        store.search(np.ones(2))
    with pytest.raises(ValueError, match="--exact is not for parquet:"):
        store.search(np.ones(2), exact=True)
    (tmp_path / "a.parquet").write_bytes(b"damaged")
    with pytest.raises(DataError, match=f"parquet:{tmp_path}: .*Parquet"):
        open_index(f"parquet:{tmp_path}")
    with pytest.raises(DataError, match="written to .*photos.index.parquet; leave out #paths.txt"):
        open_index(f"faiss:{tmp_path / 'photos.index'}#paths.txt", clip=CLIP, new=True)
    name = faiss_of("Flat")(case, tmp_path)
    (tmp_path / "paths.txt").write_text("one\n")
    with pytest.raises(DataError, match="paths.txt has 1 paths for 3000 vectors"):
        open_index(name, trust=True)
    with pytest.raises(
        DataError, match="metadata is missing; name a file of paths: faiss:FILE#PATHS"
    ):
        open_index(name.partition("#")[0], trust=True)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    monkeypatch.delitem(sys.modules, "espnet_plugin.search.stores.lancedb_store", raising=False)
    with pytest.raises(ImportError, match=r"pip install lancedb \(extra: stores\)"):
        open_index(f"lancedb:{tmp_path}")
