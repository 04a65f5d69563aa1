"""The page of licences, and the lock of the tested set."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tools.licences import closure, direct_requirements, licence
from tools.lock import locked

ROOT = Path(__file__).parents[2]


def test_licences_of_what_is_known() -> None:
    pytest.importorskip("espnet")
    assert "BSD-3-Clause" in licence("torch")
    assert licence("hypothesis") == "MPL-2.0"
    assert licence("soxr") == "LGPL-2.1-or-later"
    assert closure(["espnet"])["kaldiio"] == "espnet"


def test_every_direct_dependency_is_on_the_page() -> None:
    page = (ROOT / "docs" / "licences.md").read_text()
    rows = set(re.findall(r"^\| (\S+) \|", page, re.MULTILINE))
    assert direct_requirements().keys() <= rows


def package(name: str, **download: object) -> dict:
    return {"metadata": {"name": name, "version": "1.0"}, "download_info": download}


def test_lock_names_hashes_and_leaves_the_project_out() -> None:
    found = {"hashes": {"sha256": "12ab"}}
    report = [
        package("b", url="https://index/b.whl", archive_info=found),
        package("A", url="https://index/a.whl", archive_info=found),
        package("speechclip-plus", url="file:///here", dir_info={}),
    ]
    assert locked({"install": report}) == ["A==1.0 --hash=sha256:12ab", "b==1.0 --hash=sha256:12ab"]


def test_lock_takes_nothing_from_a_folder() -> None:
    local = package("a", url="file:///wheels/a.whl", archive_info={"hashes": {"sha256": "12ab"}})
    with pytest.raises(ValueError, match="a 1.0: no file with a hash"):
        locked({"install": [local]})


def test_the_lock_is_of_the_tested_set() -> None:
    def versions(file: str, pattern: str) -> dict[str, str]:
        text = (ROOT / "constraints" / file).read_text()
        return {
            canonicalize_name(name): version
            for name, version in re.findall(pattern, text, re.MULTILINE)
        }

    tested = versions("py311.txt", r"^([\w.-]+)==([^;\s]+)")
    lock = versions("py311.lock", r"^([\w.-]+)==(\S+) --hash=sha256:[0-9a-f]{64}$")
    assert {name: lock[name] for name in lock.keys() & tested.keys()} == {
        name: tested[name] for name in lock.keys() & tested.keys()
    }
    assert (direct_requirements().keys() & tested.keys()) - {"sounddevice"} <= lock.keys()
