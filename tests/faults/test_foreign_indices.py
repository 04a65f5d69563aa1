"""An index of pictures from a stranger, or on a disk that is full: a sentence, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from espnet_plugin.apps.search.catalog import FILE, Catalog
from espnet_plugin.apps.search.encoder import ClipEncoder
from espnet_plugin.apps.search.index import Index
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.hashing import inode_stamp
from tests.espnet_plugin.apps.search.conftest import picture, pictures, update

__all__ = ["pictures"]


@pytest.fixture
def index(pictures: Path, tmp_path: Path) -> Path:
    update(tmp_path / "index", pictures)
    return tmp_path / "index"


def change(index: Path, query: str, *values: Any) -> None:
    with sqlite3.connect(index / FILE) as catalog:
        catalog.execute(query, values)
    catalog.close()


def use(index: Path) -> None:
    Index(index).search(np.ones(48), top=20)
    Index(index).describe()
    update(index)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("generation", 1),
        ("dim", [48]),
        ("dim", 10**30),
        ("folders", "/"),
        ("folders", [5]),
        ("model", ["name"]),
        ("fingerprint", None),
        ("other", 1),
    ],
)
def test_settings_that_are_none(index: Path, name: str, value: Any) -> None:
    catalog = Catalog(index)
    state = vars(catalog.state()) | {name: value}
    catalog.close()
    change(index, "UPDATE state SET json = ?", json.dumps(state))
    with pytest.raises(DataError, match=str(index)):
        use(index)


@pytest.mark.parametrize(
    "query",
    [
        "UPDATE files SET path = 5 WHERE content = (SELECT content FROM vectors WHERE row = 0)",
        "UPDATE files SET path = 5.5 WHERE content = (SELECT content FROM vectors WHERE row = 0)",
        "INSERT INTO vectors VALUES (9223372036854775807, x'00', NULL, NULL, '[]')",
        "UPDATE vectors SET words = 'no JSON'",
        "UPDATE vectors SET words = '[{}]'",
        """UPDATE vectors SET words = '[{"word": 5, "score": 0, "start": 0, "end": 0}]'""",
        """UPDATE vectors SET words = '[{"word": "a", "score": "x", "start": 0, "end": 0}]'""",
        """UPDATE vectors SET words = '[{"word": "a", "score": 0, "start": NaN, "end": 0}]'""",
        "UPDATE vectors SET words = NULL",
        "UPDATE vectors SET start = 'x', end = 1",
        "UPDATE vectors SET start = 2, end = 1",
        "UPDATE vectors SET start = 0, end = 9e999",
        "UPDATE vectors SET start = 0, end = NULL",
        "DROP TABLE files",
        "DROP TABLE state",
    ],
)
def test_tables_that_are_none(index: Path, query: str) -> None:
    change(index, query)
    with pytest.raises(DataError, match=str(index)):
        use(index)


@pytest.mark.parametrize("name", ["lock", "vectors.f16", FILE])
def test_links_lead_nowhere(index: Path, name: str, tmp_path: Path) -> None:
    """The lock is emptied, vectors are cut off, tables are made: in the index, not elsewhere."""
    outside = tmp_path / "outside"
    shutil.move(index / name, outside)
    outside.write_bytes(outside.read_bytes() + b"mine")
    content = outside.read_bytes()
    (index / name).symlink_to(outside)
    with pytest.raises(DataError, match="a link"):
        update(index)
    assert outside.read_bytes() == content


def test_files_that_it_was_not_made_of_are_not_shown(
    index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its maker may know a file's name, its size and when it was written."""
    private = picture(tmp_path / "private.png", 9)
    os.utime(private, ns=(10**18, 10**18))
    put = "UPDATE files SET path = ?, stamp = ? "
    put += "WHERE content IN (SELECT content FROM vectors WHERE row = 0)"
    known = f"{private.stat().st_size}:{10**18}:{10**18}"
    change(index, put, os.fsencode(private), known)
    hits = Index(index).search(np.ones(48), top=20)
    assert len(hits) == 6 and str(private) not in {hit.path for hit in hits}
    assert "1 file left out" in caplog.text
    change(index, put, os.fsencode(private), inode_stamp(str(private)))
    assert str(private) in {hit.path for hit in Index(index).search(np.ones(48), top=20)}


def test_an_older_format_is_refused(index: Path) -> None:
    change(index, "PRAGMA user_version = 4")
    with pytest.raises(
        DataError, match="format 4, but this version of the package reads 5; remove"
    ):
        use(index)


def test_a_full_disk_is_no_damage(index: Path, pictures: Path) -> None:
    shutil.copy(pictures / "sub0" / "0.jpg", pictures / "new.jpg")
    change(index, "CREATE TRIGGER t BEFORE INSERT ON files BEGIN "
           "SELECT RAISE(ABORT, 'database or disk is full'); END")  # fmt: skip
    with pytest.raises(
        DataError, match=r"catalog.sqlite: database or disk is full\. .* free some"
    ) as full:
        update(index)
    assert "remove" not in str(full.value)


def test_an_index_that_cannot_be_written_is_no_damage(index: Path, pictures: Path) -> None:
    """Permissions do not stop root, so SQLite is told not to write."""
    shutil.copy(pictures / "sub0" / "0.jpg", pictures / "new.jpg")
    catalog = Catalog(index)
    catalog._db.execute("PRAGMA query_only = ON")
    with pytest.raises(DataError, match="readonly database. The index cannot be written") as found:
        catalog.put("/a", "", None)
    assert "remove" not in str(found.value)


def test_a_model_that_does_not_load_is_no_fault_of_the_pictures(
    pictures: Path, tmp_path: Path
) -> None:
    encoder = ClipEncoder(str(tmp_path / "absent.zip"))
    with pytest.raises(FileNotFoundError, match="absent.zip"):
        update(tmp_path / "index", pictures, encoder=encoder)
    assert Catalog(tmp_path / "index").problems() == {}
