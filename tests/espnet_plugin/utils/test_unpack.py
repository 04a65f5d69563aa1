from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from espnet_plugin.utils.disk import NotEnoughSpaceError
from espnet_plugin.utils.unpack import unpack

FILES = {"a/1.wav": b"one" * 5000, "a/b/2.wav": b"two", "3.txt": b""}


def make_tar(path: Path, files: dict[str, bytes], *links: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for link in links:
            archive.addfile(link)
    return path


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


MAKE = {"x.tar.gz": make_tar, "x.zip": make_zip}


def unpacked(directory: Path) -> dict[str, bytes]:
    paths = (p for p in directory.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("name", MAKE)
def test_everything_is_unpacked_but_litter(tmp_path: Path, name: str) -> None:
    archive = MAKE[name](tmp_path / name, {**FILES, "__MACOSX/._a": b"litter"})
    unpack(archive, tmp_path / "out")
    assert unpacked(tmp_path / "out") == FILES


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("entry", ["../evil", "/etc/evil", "a/../../evil", "link/evil"])
def test_nothing_leaves_the_folder(tmp_path: Path, name: str, entry: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "link").symlink_to(tmp_path)
    archive = MAKE[name](tmp_path / name, {entry: b"evil"})
    with pytest.raises(ValueError, match="refused"):
        unpack(archive, out)
    assert not (tmp_path / "evil").exists()


def test_links_in_an_archive_are_left_out(tmp_path: Path) -> None:
    link = tarfile.TarInfo("a/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    unpack(make_tar(tmp_path / "x.tar.gz", FILES, link), tmp_path / "out")
    assert unpacked(tmp_path / "out") == FILES


@pytest.mark.parametrize("name", MAKE)
def test_half_an_archive_is_an_error_and_goes_on_later(tmp_path: Path, name: str) -> None:
    files = {**FILES, "z.wav": bytes(range(256)) * 500}
    archive = MAKE[name](tmp_path / name, files)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged, encrypted, or not downloaded to the end"):
        unpack(archive, tmp_path / "out")
    archive.write_bytes(whole)
    unpack(archive, tmp_path / "out")
    assert unpacked(tmp_path / "out") == files


@pytest.mark.parametrize(
    ("header", "offset", "changed"),
    [
        (b"PK\1\2", 8, b"\1"),  # encrypted
        (b"PK\1\2", 10, b"\x63"),  # a compression that nobody has
        (b"PK\3\4", 31, b"\xff" * 8),  # compressed data, after a name of one letter
    ],
)
def test_an_archive_that_cannot_be_read_says_so(
    tmp_path: Path, header: bytes, offset: int, changed: bytes
) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"one" * 5000)
    content = bytearray((tmp_path / "x.zip").read_bytes())
    place = content.index(header) + offset
    content[place : place + len(changed)] = changed
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(ValueError, match="x.zip: damaged, encrypted, or not downloaded to the end"):
        unpack(tmp_path / "x.zip", tmp_path / "out")


def test_a_full_disk_is_not_taken_for_a_damaged_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_zip(tmp_path / "x.zip", FILES)
    monkeypatch.setattr("espnet_plugin.utils.disk.free_space", lambda directory: 1000)
    with pytest.raises(NotEnoughSpaceError, match="x.zip need 15 KiB"):
        unpack(archive, tmp_path / "out")
