from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from PIL import Image

from espnet_plugin.data import images
from espnet_plugin.data.scp import DataError
from espnet_plugin.search.index import ImageIndex
from espnet_plugin.search.model import IndexedModel
from espnet_plugin.search.update import LOCK
from tests.espnet_plugin.search.conftest import PixelEncoder, picture, update
from tests.phones import write_heic


def found(index: Path) -> dict[str, float]:
    query = np.ones(48)
    hits = ImageIndex(index).search(query, top=1000)
    return {hit.path: round(hit.score, 5) for hit in hits}


def test_first_run_and_one_without_changes(pictures: Path, tmp_path: Path) -> None:
    done = update(tmp_path / "index", pictures)
    assert (done.embedded, done.pictures) == (7, 7)
    encoder = PixelEncoder()
    done = update(tmp_path / "index", encoder=encoder)  # the folders of the last run
    assert (done.unchanged, done.pictures, encoder.read_files) == (7, 7, [])


def test_new_changed_renamed_removed_and_copied(pictures: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    update(index, pictures)
    (pictures / "sub0" / "0.jpg").rename(pictures / "renamed.jpg")
    (pictures / "sub1" / "1.png").unlink()
    shutil.copy(pictures / "sub0" / "2.png", pictures / "copy.png")
    changed = picture(pictures / "sub0" / "4.png", 44)
    new = picture(pictures / "new.jpg", 77)
    encoder = PixelEncoder()
    done = update(index, pictures, encoder=encoder)
    assert sorted(encoder.read_files) == sorted(map(str, (changed, new)))
    assert (done.embedded, done.recognised, done.unchanged, done.removed) == (2, 2, 4, 2)
    assert done.pictures == 8
    update(tmp_path / "anew", pictures)
    assert found(index) == found(tmp_path / "anew")


def test_bad_pictures_are_reported_and_tried_again(
    pictures: Path, tmp_path: Path, caplog
) -> None:
    bad = pictures / "bad.jpg"
    bad.write_bytes((pictures / "sub0" / "0.jpg").read_bytes()[:-100])
    (pictures / "empty.png").touch()
    (pictures / "nowhere.png").symlink_to("absent.png")
    (pictures / "back").symlink_to(pictures)
    done = update(tmp_path / "index", pictures)
    assert done.pictures == 7
    assert sorted(done.unreadable) == [str(bad), str(pictures / "empty.png")]
    assert "bad.jpg" in caplog.text
    done = update(tmp_path / "index", pictures)
    assert "7 unchanged, 2 unreadable" in str(done)
    assert len(ImageIndex(tmp_path / "index").describe()["unreadable"]) == 2
    picture(bad, 9)
    assert update(tmp_path / "index", pictures).pictures == 8
    assert str(bad) in found(tmp_path / "index")


def test_photographs_that_a_missing_package_reads_are_counted_and_taken_later(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    photograph = write_heic(pictures / "a.HEIC", np.full((24, 32, 3), 200, np.uint8))
    renamed = write_heic(pictures / "c.jpg", np.full((24, 32, 3), 100, np.uint8))
    (pictures / "b.heic").write_bytes(photograph.read_bytes())
    with monkeypatch.context() as without:
        without.setattr(images, "reads_heif", lambda: False)
        without.delitem(Image.OPEN, "HEIF", raising=False)
        done = update(tmp_path / "index", pictures)
    assert (done.pictures, done.left_out, done.unreadable) == (7, 2, {str(renamed): ANY})
    assert "2 in HEIC left out" in str(done)
    assert "2 HEIC images are left out" in caplog.text
    assert "pip install pillow-heif" in caplog.text and "magick mogrify" in caplog.text
    done = update(tmp_path / "index", pictures)
    assert (done.embedded, done.recognised, done.left_out, done.pictures) == (2, 1, 0, 10)


def test_a_picture_whose_twin_was_written_to_meanwhile_is_read_again(tmp_path: Path) -> None:
    one = picture(tmp_path / "pictures" / "a.png", 1)
    twin = Path(shutil.copy(one, one.with_name("b.png")))

    class Writing(PixelEncoder):
        def read(self, path: str) -> np.ndarray:
            os.utime(twin)
            os.utime(one)
            return super().read(path)

    first = update(tmp_path / "index", one.parent, encoder=Writing())
    assert sorted(first.unreadable) == [str(one), str(twin)]
    assert update(tmp_path / "index", one.parent).pictures == 2


def test_a_folder_that_is_not_there_loses_nothing(pictures: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    update(index, pictures)
    other = picture(tmp_path / "other" / "x.png", 50).parent
    assert update(index, other).pictures == 8  # those elsewhere stay
    pictures.rename(tmp_path / "unmounted")
    with pytest.raises(DataError, match="pictures: no such folder"):
        update(index, pictures)
    assert len(ImageIndex(index)) == 8


def test_what_must_not_be_written_to(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds other files"):
        update(pictures, pictures)
    with pytest.raises(DataError, match="no index yet"):
        update(tmp_path / "index")
    update(tmp_path / "index", pictures)
    with pytest.raises(DataError, match=r"was made by small .* not by other"):
        update(tmp_path / "index", pictures, model=IndexedModel("other", "b" * 64))
    with FileLock(tmp_path / "index" / LOCK):
        with pytest.raises(DataError, match="is being written by another process"):
            update(tmp_path / "index", pictures)


def test_another_model_makes_an_index_anew_when_it_is_told_to(
    pictures: Path, tmp_path: Path
) -> None:
    index, other = tmp_path / "index", IndexedModel("other", "b" * 64)
    elsewhere = picture(tmp_path / "elsewhere" / "x.png", 50).parent
    update(index, pictures)
    update(index, elsewhere)
    reader = ImageIndex(index)
    pictures.rename(tmp_path / "unmounted")
    with pytest.raises(DataError, match="pictures: no such folder"):
        update(index, elsewhere, model=other, force=True)
    assert len(reader) == 8
    (tmp_path / "unmounted").rename(pictures)
    half = type("Half", (PixelEncoder,), {"encode": lambda s, p: PixelEncoder.encode(s, p)[:, :24]})
    done = update(index, elsewhere, model=other, encoder=half(), force=True)  # of other width, too
    assert (done.embedded, done.pictures, done.removed) == (8, 8, 0)
    assert reader.model == other and len(reader.search(np.ones(24), top=9)) == 8
    assert update(index, model=other, force=True).unchanged == 8


SLOW_RUN = """
import sys, time
from pathlib import Path
from tests.espnet_plugin.search.conftest import PixelEncoder, update
class Slow(PixelEncoder):
    def encode(self, pictures):
        print("batch", flush=True)
        time.sleep(0.01)
        return super().encode(pictures)
update(Path(sys.argv[1]), Path(sys.argv[2]), encoder=Slow())
"""


def test_a_killed_run_loses_its_batch_at_most(pictures: Path, tmp_path: Path) -> None:
    for seed in range(100, 140):
        picture(pictures / f"{seed}.png", seed)
    index = tmp_path / "index"
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_RUN, str(index), str(pictures)],
        stdout=subprocess.PIPE,
        text=True,
    )
    for _ in range(6):
        process.stdout.readline()
    time.sleep(0.01)  # somewhere between two batches
    process.send_signal(signal.SIGKILL)
    batches = 6 + len(process.communicate()[0].splitlines())
    assert batches < 23, "killed too late"
    there = len(ImageIndex(index)) if (index / "catalog.sqlite").is_file() else 0
    assert there >= 2 * (batches - 1)
    encoder = PixelEncoder()
    assert update(index, pictures, encoder=encoder).pictures == 47
    assert len(encoder.read_files) == 47 - there
    update(tmp_path / "anew", pictures)
    assert found(index) == found(tmp_path / "anew")


class Incremental(RuleBasedStateMachine):
    """Whatever happens to a folder, the index is what one made from nothing would be."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / "pictures"
        self.folder.mkdir()
        self.clock = 10**9

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def touched(self, path: Path) -> None:
        self.clock += 1  # coarse clocks would hide that a file was written twice
        os.utime(path, (self.clock, self.clock))

    names = st.integers(0, 5).map(lambda n: f"{n}.png")

    @rule(name=names, seed=st.integers(0, 8))
    def write(self, name: str, seed: int) -> None:
        self.touched(picture(self.folder / name, seed))

    @rule(name=names)
    def spoil(self, name: str) -> None:
        (self.folder / name).write_bytes(b"no picture")
        self.touched(self.folder / name)

    @rule(name=names)
    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    @rule(old=names, new=names)
    def rename(self, old: str, new: str) -> None:
        if (self.folder / old).exists():
            (self.folder / old).rename(self.folder / new)

    @rule(batches=st.integers(0, 2))
    def interrupted_update(self, batches: int) -> None:
        try:
            update(self.root / "index", self.folder, encoder=PixelEncoder(fail_after=batches))
        except KeyboardInterrupt:
            pass

    @rule(approximate_from=st.sampled_from([1, 1000]))
    def whole_update(self, approximate_from: int) -> None:
        update(self.root / "index", self.folder, approximate_from=approximate_from)
        shutil.rmtree(self.root / "anew", ignore_errors=True)
        update(self.root / "anew", self.folder)
        assert found(self.root / "index") == found(self.root / "anew")

    @invariant()
    def the_index_opens(self) -> None:
        if (self.root / "index" / "catalog.sqlite").is_file():
            found(self.root / "index")


TestIncremental = Incremental.TestCase
TestIncremental.settings = settings(max_examples=8, stateful_step_count=8, deadline=None)
