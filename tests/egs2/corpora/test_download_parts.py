from __future__ import annotations

import logging
import shutil
import zipfile
from pathlib import Path

import pytest
from local.shared.fetch import Resource

from espnet_plugin.utils.errors import DataError
from tests.egs2.corpora import conftest  # noqa: F401  (makes local importable)


@pytest.fixture
def served(tmp_path: Path) -> str:
    """A folder with an archive, as an address."""
    folder = tmp_path / "served"
    folder.mkdir()
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.writestr("wavs/1.wav", b"sound")
    return folder.as_uri()


def test_parts_are_fetched_unpacked_and_then_left_alone(
    served: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from local.shared.download import download

    parts = [Resource("x.zip", (f"{served}/x.zip",), "audio", ("audio/wavs",))]
    download(parts, tmp_path / "corpus")
    assert (tmp_path / "corpus" / "audio" / "wavs" / "1.wav").read_bytes() == b"sound"
    (tmp_path / "corpus" / "audio" / "wavs" / "1.wav").unlink()
    download(parts, tmp_path / "corpus")  # marked as unpacked: nothing is touched
    assert not (tmp_path / "corpus" / "audio" / "wavs" / "1.wav").exists()
    shutil.rmtree(tmp_path / "corpus" / "audio" / "wavs")  # what was unpacked may be lost
    download(parts, tmp_path / "corpus")
    assert (tmp_path / "corpus" / "audio" / "wavs" / "1.wav").read_bytes() == b"sound"
    (tmp_path / "corpus" / "x.zip").unlink()  # the archive may be removed
    caplog.set_level(logging.INFO)
    download(parts, tmp_path / "corpus")
    assert "not needed" in caplog.text


def test_what_cannot_be_had_is_said_at_the_end(served: str, tmp_path: Path) -> None:
    from local.shared.download import download

    by_hand = "Fill in the form and put {name} into {directory}."
    parts = [
        Resource("lost.zip", (f"{served}/lost.zip",), present=("pictures",), by_hand=by_hand),
        Resource("x.zip", (f"{served}/x.zip",), present=("wavs",)),
    ]
    with pytest.raises(DataError, match="Fill in the form and put lost.zip into .*/corpus"):
        download(parts, tmp_path / "corpus")
    assert (tmp_path / "corpus" / "wavs" / "1.wav").is_file()  # the others are there


@pytest.mark.parametrize("corpus", ["flickr8k", "spokencoco"])
def test_every_part_of_a_corpus_says_what_to_do_by_hand(corpus: str) -> None:
    import importlib

    for part in importlib.import_module(f"local.{corpus}.download").PARTS:
        text = part.by_hand.format(name=part.name, directory="DIR")
        assert "DIR" in text and "{" not in text
        assert part.present
