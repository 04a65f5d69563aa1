from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.catalog import Catalog
from espnet_plugin.search.index import ImageIndex
from tests.espnet_plugin.search.conftest import PixelEncoder, picture, update


def expected(pictures: Path, query: np.ndarray) -> list[tuple[str, float]]:
    encoder = PixelEncoder()
    files = sorted(str(path) for path in pictures.rglob("*.*"))
    rows = encoder.encode([encoder.read(file) for file in files])
    scores = rows @ (query / np.linalg.norm(query))
    return sorted(zip(files, scores.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))


@pytest.mark.parametrize("approximate_from", [1000, 1])
def test_ranks_as_all_cosines_do(pictures: Path, tmp_path: Path, approximate_from: int) -> None:
    (pictures / "twin.png").write_bytes((pictures / "sub0" / "2.png").read_bytes())
    update(tmp_path / "index", pictures, approximate_from=approximate_from)
    index = ImageIndex(tmp_path / "index")
    assert index.describe()["approximate"] == (approximate_from == 1)
    for seed in range(5):
        query = np.random.default_rng(seed).standard_normal(48)
        for top in (1, 3, 8, 50):
            hits = index.search(query, top=top)
            wanted = expected(pictures, query)[:top]
            assert [hit.path for hit in hits] == [path for path, _ in wanted]
            assert np.allclose([hit.score for hit in hits], [score for _, score in wanted])


def test_removed_pictures_make_room_for_others(pictures: Path, tmp_path: Path) -> None:
    update(tmp_path / "index", pictures)
    index = ImageIndex(tmp_path / "index")
    query = np.random.default_rng(0).standard_normal(48)
    ranked = [hit.path for hit in index.search(query)]
    for path in ranked[:3]:
        Path(path).unlink()
    update(tmp_path / "index", pictures)
    assert [hit.path for hit in index.search(query, top=2)] == ranked[3:5]
    Path(ranked[3]).unlink()  # now most vectors are nobody's: they are left out
    update(tmp_path / "index", pictures)
    assert [hit.path for hit in index.search(query)] == ranked[4:]
    assert Catalog(tmp_path / "index").vectors() == 3
    assert [path.name for path in (tmp_path / "index").glob("vectors-*")] == ["vectors-1.f32"]


def test_an_approximate_index_follows(pictures: Path, tmp_path: Path) -> None:
    update(tmp_path / "index", pictures, approximate_from=1)
    index = ImageIndex(tmp_path / "index")
    for seed in range(20, 40):
        picture(pictures / f"{seed}.png", seed)
        update(tmp_path / "index", pictures)
        query = np.random.default_rng(seed).standard_normal(48)
        assert [hit.path for hit in index.search(query)] == [
            path for path, _ in expected(pictures, query)[:10]
        ]
    assert ImageIndex(tmp_path / "index").describe()["approximate"]


def test_queries_that_ask_nothing(pictures: Path, tmp_path: Path) -> None:
    update(tmp_path / "index", pictures)
    index = ImageIndex(tmp_path / "index")
    for query, message in (
        (np.zeros(48), "zero or not finite"),
        (np.full(48, np.nan), "zero or not finite"),
        (np.ones(47), r"the query has shape \(47,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            index.search(query)
    (tmp_path / "nothing").mkdir()
    update(tmp_path / "empty", tmp_path / "nothing")
    assert ImageIndex(tmp_path / "empty").search(np.ones(3)) == []


def damage_catalog(index: Path) -> None:
    content = (index / "catalog.sqlite").read_bytes()
    (index / "catalog.sqlite").write_bytes(content[:100] + b"\xff" * (len(content) - 100))


def cut_vectors(index: Path) -> None:
    path = index / "vectors-0.f32"
    path.write_bytes(path.read_bytes()[:-10])


def cut_catalog(index: Path) -> None:
    (index / "catalog.sqlite").write_bytes(b"")


def swap_codes(index: Path) -> None:
    next(index.glob("codes-*")).write_bytes(b"codes")


@pytest.mark.parametrize("damage", [damage_catalog, cut_vectors, cut_catalog, swap_codes])
def test_a_damaged_index_is_one_sentence(pictures: Path, tmp_path: Path, damage) -> None:
    update(tmp_path / "index", pictures, approximate_from=1)
    damage(tmp_path / "index")
    with pytest.raises(DataError, match=r"index.*(damaged|cut off|format)"):
        ImageIndex(tmp_path / "index").search(np.ones(48))


def test_no_index(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: no index; make one with"):
        ImageIndex(tmp_path / "absent")
