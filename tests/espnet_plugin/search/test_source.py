from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.source import Item, items_of_part
from tests.espnet_plugin.search.conftest import picture


def items(*sources: Path | str, part: int = 1, of: int = 1, bad: dict | None = None) -> list[Item]:
    return list(items_of_part([*map(str, sources)], part, of, {} if bad is None else bad))


def shard(path: Path, *names: str) -> Path:
    member = picture(path.parent / "member.png", 1)
    with tarfile.open(path, "w") as made:
        for name in names:
            made.add(member, name)
    member.unlink()
    return path


def test_each_item_is_in_one_part(pictures: Path) -> None:
    (pictures / "a.wav").touch()
    (pictures / "notes.txt").touch()
    of_parts = [items(pictures, part=part, of=3) for part in (1, 2, 3)]
    everything = items(pictures)
    assert len(everything) == 8
    assert sorted(sum(of_parts, []), key=everything.index) == everything
    assert {item.id for item in everything} >= {"sub0/0.jpg", "sub1/1.png", "a.wav"}
    assert all(item.path == str(pictures / item.id) for item in everything)


def test_a_part_does_not_depend_on_what_else_is_there(pictures: Path) -> None:
    before = items(pictures, part=2, of=3)
    picture(pictures / "another.png", 9)
    assert [item for item in items(pictures, part=2, of=3) if item.id != "another.png"] == before


def test_shards_go_to_the_parts_by_their_number(tmp_path: Path) -> None:
    for number in range(4):
        shard(tmp_path / f"x{number:03}.tar", f"{number}a.png", f"{number}b.wav", f"{number}.json")
    found = items(tmp_path, part=2, of=3)
    assert [item.id for item in found] == ["1a.png", "1b.wav"]
    assert [item.id for item in items(tmp_path, part=1, of=3)] == [
        "0a.png",
        "0b.wav",
        "3a.png",
        "3b.wav",
    ]
    start, size = found[0].place
    content = (tmp_path / "x001.tar").read_bytes()[start : start + size]
    assert content.startswith(b"\x89PNG")
    assert items(tmp_path / "x001.tar") == found
    assert items(tmp_path / "x001.tar", part=1, of=3) == []


def test_a_list_holds_names_of_any_bytes(tmp_path: Path) -> None:
    names = [b"sub/a b.png", "ü.wav".encode(), b"\xff.jpg", b"/elsewhere/c.tif", b"d.txt"]
    (tmp_path / "list").write_bytes(b"\r\n".join(names) + b"\n\n")
    found = items(tmp_path / "list")
    assert [os.fsencode(item.id) for item in found] == names
    assert [item.path for item in found[:2]] == [f"{tmp_path}/sub/a b.png", f"{tmp_path}/ü.wav"]
    assert found[3].path == "/elsewhere/c.tif"


def test_a_damaged_shard_gives_what_is_before_the_damage(tmp_path: Path) -> None:
    path = shard(tmp_path / "1.tar", "a.png", "b.png", "c.png")
    whole, good = path.read_bytes(), items(path)
    header = good[1].place[0] - 512
    for content, left in (
        (whole[:header] + b"\xff" * 512 + whole[header + 512 :], 1),
        (whole[: header + 600], 1),
        (whole[:header], 1),
        (whole[:100], 0),
        (b"", 0),
    ):
        path.write_bytes(content)
        bad: dict[str, str] = {}
        assert items(path, bad=bad) == good[:left]  # without a member that is cut
        assert list(bad) == [str(path)] and "not a whole tar file" in bad[str(path)]


def test_no_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: no such folder, list or tar shard"):
        items(tmp_path / "absent")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match="no image, recording or tar shard below it"):
        items(tmp_path)
