from __future__ import annotations

import gc
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from espnet_plugin.apps.search.catalog import Catalog, Window
from espnet_plugin.apps.search.index import Index
from espnet_plugin.utils.errors import DataError
from tests.espnet_plugin.apps.search.conftest import (
    PixelEncoder,
    ToneEncoder,
    picture,
    recording,
    update,
)


def expected(pictures: Path, query: np.ndarray) -> list[tuple[str, float]]:
    encoder = PixelEncoder()
    files = sorted(str(path) for path in pictures.rglob("*.*") if path.suffix != ".wav")
    rows = encoder.encode([encoder.read(file) for file in files])
    scores = rows.astype(np.float16).astype(np.float32) @ (query / np.linalg.norm(query))
    return sorted(zip(files, scores.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))


def test_ranks_as_all_cosines_do(pictures: Path, tmp_path: Path) -> None:
    (pictures / "twin.png").write_bytes((pictures / "sub0" / "2.png").read_bytes())
    update(tmp_path / "index", pictures)
    index = Index(tmp_path / "index")
    for seed in range(5):
        query = np.random.default_rng(seed).standard_normal(48)
        for top in (1, 3, 8, 50):
            hits = index.search(query, top=top)
            wanted = expected(pictures, query)[:top]
            assert [hit.path for hit in hits] == [path for path, _ in wanted]
            assert np.allclose([hit.score for hit in hits], [score for _, score in wanted])


def test_equal_scores_are_in_the_order_of_the_paths(pictures: Path, tmp_path: Path) -> None:
    """Also of files with a vector each, here by the same pixels in other bytes."""
    update(tmp_path / "index", pictures)
    with Image.open(pictures / "sub0" / "2.png") as twin:
        twin.save(pictures / "a-twin.png", compress_level=0)
    update(tmp_path / "index", pictures)
    query = np.random.default_rng(0).standard_normal(48)
    wanted = [path for path, _ in expected(pictures, query)]
    for top in (50, *range(1, len(wanted))):  # also where the last one has an equal
        hits = Index(tmp_path / "index").search(query, top=top)
        assert [hit.path for hit in hits] == wanted[:top]


def test_equal_windows_are_in_the_order_of_the_paths_then_of_their_times(tmp_path: Path) -> None:
    """Two copies of a recording, each of one tone three times."""
    first = recording(tmp_path / "speech" / "a.wav", 5, 5, 5)
    first.with_name("b.wav").write_bytes(first.read_bytes())
    update(tmp_path / "index", tmp_path / "speech")
    hits = Index(tmp_path / "index").search(np.eye(48)[5])
    order = [(hit.path, hit.start) for hit in hits]
    assert len({hit.score for hit in hits}) == 1 and len(order) == 6
    assert order == sorted(order)


def test_a_kind_is_ranked_as_if_it_were_alone(pictures: Path, tmp_path: Path) -> None:
    """Ten windows in two recordings, between the images in the order of the names."""
    speech = [
        recording(pictures / "sub0" / f"1{letter}.wav", *range(first, first + 25, 5))
        for letter, first in (("a", 0), ("b", 22))
    ]
    update(tmp_path / "index", pictures)
    index = Index(tmp_path / "index")
    embedded = {path: ToneEncoder()(str(path)) for path in speech}
    for seed in range(5):
        query = np.random.default_rng(seed).standard_normal(48)
        unit = query / np.linalg.norm(query)
        wanted = [
            (float(row @ unit), str(path), window.start, window.end, window.words)
            for path, (rows, windows) in embedded.items()
            for row, window in zip(rows, windows, strict=True)
        ]
        wanted.sort(key=lambda each: -each[0])
        for top in (1, 4, 50):
            hits = index.search(query, top=top, kind="recording")
            assert [(hit.path, hit.start, hit.end, hit.words) for hit in hits] == [
                each[1:] for each in wanted[:top]
            ]
            assert np.allclose([hit.score for hit in hits], [each[0] for each in wanted[:top]])
        images = index.search(query, top=50, kind="image")
        ranked = [path for path, _ in expected(pictures, query)]
        assert [hit.path for hit in images] == ranked
        assert all(hit.start is None and not hit.words for hit in images)
        both = index.search(query, top=50)
        assert len(both) == len(images) + len(wanted)
        assert len(index.search(query, top=50, kind="recording")) == len(wanted)


def test_removed_pictures_make_room_for_others(pictures: Path, tmp_path: Path) -> None:
    update(tmp_path / "index", pictures)
    index = Index(tmp_path / "index")
    query = np.random.default_rng(0).standard_normal(48)
    ranked = [hit.path for hit in index.search(query)]
    for path in ranked[:3]:
        Path(path).unlink()
    update(tmp_path / "index", pictures)
    assert [hit.path for hit in index.search(query, top=2)] == ranked[3:5]


def test_an_open_index_follows(pictures: Path, tmp_path: Path) -> None:
    update(tmp_path / "index", pictures)
    index = Index(tmp_path / "index")
    for seed in range(20, 24):
        picture(pictures / f"{seed}.png", seed)
        update(tmp_path / "index", pictures)
        query = np.random.default_rng(seed).standard_normal(48)
        assert [hit.path for hit in index.search(query)] == [
            path for path, _ in expected(pictures, query)[:10]
        ]


def test_queries_that_ask_nothing(pictures: Path, tmp_path: Path) -> None:
    update(tmp_path / "index", pictures)
    index = Index(tmp_path / "index")
    for query, message in (
        (np.zeros(48), "zero or not finite"),
        (np.full(48, np.nan), "zero or not finite"),
        (np.ones(47), r"the query has shape \(47,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            index.search(query)
    (tmp_path / "unreadable").mkdir()
    (tmp_path / "unreadable" / "a.png").touch()
    update(tmp_path / "empty", tmp_path / "unreadable")
    assert Index(tmp_path / "empty").search(np.ones(3)) == []


def damage_catalog(index: Path) -> None:
    content = (index / "catalog.sqlite").read_bytes()
    (index / "catalog.sqlite").write_bytes(content[:100] + b"\xff" * (len(content) - 100))


def cut_vectors(index: Path) -> None:
    path = index / "vectors.f16"
    path.write_bytes(path.read_bytes()[:-10])


def cut_catalog(index: Path) -> None:
    (index / "catalog.sqlite").write_bytes(b"")


@pytest.mark.parametrize("damage", [damage_catalog, cut_vectors, cut_catalog])
def test_a_damaged_index_is_one_sentence(pictures: Path, tmp_path: Path, damage) -> None:
    update(tmp_path / "index", pictures)
    damage(tmp_path / "index")
    with pytest.raises(DataError, match=r"index.*(damaged|cut off|format)"):
        Index(tmp_path / "index").search(np.ones(48))


def test_no_index(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: no index; make one with"):
        Index(tmp_path / "absent")


def test_an_index_is_described_while_a_writer_replaces_a_file(
    pictures: Path, tmp_path: Path
) -> None:
    update(tmp_path / "index", pictures)
    before = Index(tmp_path / "index").describe()
    (tmp_path / "index" / ".new.part").symlink_to("renamed just now")
    assert Index(tmp_path / "index").describe() == before


def test_an_index_that_is_not_used_any_more_closes_its_file(pictures: Path, tmp_path: Path) -> None:
    """Otherwise Python 3.13 warns of it."""
    update(tmp_path / "index", pictures)
    index = Index(tmp_path / "index")
    database = index._catalog._db
    del index
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        database.execute("SELECT 1")


def test_a_large_change_does_not_lock_readers_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than SQLite's cache holds, as when an index is made again."""
    monkeypatch.setattr("espnet_plugin.apps.search.catalog.WAIT_SECONDS", 0.1)
    writer = Catalog(tmp_path, create=True)
    with writer.transaction():
        for row in range(60_000):
            writer.add_vector(row, (7919 * row).to_bytes(32, "big"), Window())
        assert Catalog(tmp_path).vectors() == 0
