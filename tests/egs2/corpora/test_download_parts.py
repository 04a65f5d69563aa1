from __future__ import annotations

import logging
import zipfile
from pathlib import Path

import pytest

from espnet_plugin.data.download import Resource
from espnet_plugin.data.scp import DataError
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
    from local.shared.download import Part, download

    parts = [Part(Resource("x.zip", (f"{served}/x.zip",)), "audio", ("audio/wavs",))]
    download(parts, tmp_path / "corpus")
    assert (tmp_path / "corpus" / "audio" / "wavs" / "1.wav").read_bytes() == b"sound"
    (tmp_path / "corpus" / "x.zip").unlink()  # the archive may be removed
    caplog.set_level(logging.INFO)
    download(parts, tmp_path / "corpus")
    assert "not needed" in caplog.text


def test_what_cannot_be_had_is_said_at_the_end(served: str, tmp_path: Path) -> None:
    from local.shared.download import Part, download

    by_hand = "Fill in the form and put {name} into {directory}."
    lost = Resource("lost.zip", (f"{served}/lost.zip",), by_hand=by_hand)
    parts = [
        Part(lost, "", ("pictures",)),
        Part(Resource("x.zip", (f"{served}/x.zip",)), "", ("wavs",)),
    ]
    with pytest.raises(DataError, match="Fill in the form and put lost.zip into .*/corpus"):
        download(parts, tmp_path / "corpus")
    assert (tmp_path / "corpus" / "wavs" / "1.wav").is_file()  # the others are there


@pytest.mark.parametrize("corpus", ["flickr8k", "spokencoco"])
def test_every_part_of_a_corpus_says_what_to_do_by_hand(corpus: str) -> None:
    import importlib

    for part in importlib.import_module(f"local.{corpus}.download").PARTS:
        text = part.resource.by_hand.format(name=part.resource.name, directory="DIR")
        assert "DIR" in text and "{" not in text
        assert part.present
