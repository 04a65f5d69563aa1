from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
import soundfile
from filelock import FileLock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from PIL import Image

from espnet_plugin.apps.search import update as module
from espnet_plugin.apps.search.index import Index
from espnet_plugin.apps.search.model import IndexedModel
from espnet_plugin.apps.search.update import LOCK
from espnet_plugin.data.record import RECORD, VERSIONS
from espnet_plugin.media import images
from espnet_plugin.utils.errors import DataError
from tests.espnet_plugin.apps.search.conftest import (
    MODEL,
    RATE,
    PixelEncoder,
    ToneEncoder,
    picture,
    recording,
    update,
)
from tests.phones import write_heic


def found(index: Path) -> dict[tuple, float]:
    query = np.ones(48)
    hits = Index(index).search(query, top=1000)
    assert len(set(hits)) == len(hits)
    return {
        hit.path if hit.start is None else (hit.path, hit.start, hit.end, hit.words): round(
            hit.score, 5
        )
        for hit in hits
    }


def spans(index: Path, path: Path) -> list[tuple[str, float]]:
    """Word and start of each window of a recording."""
    hits = [hit for hit in Index(index).search(np.ones(48), top=1000) if hit.path == str(path)]
    return sorted((hit.words[0].word, round(hit.start, 1)) for hit in hits)


def test_first_run_and_one_without_changes(pictures: Path, tmp_path: Path) -> None:
    done = update(tmp_path / "index", pictures)
    assert (done.embedded, done.images) == (7, 7)
    encoder = PixelEncoder()
    done = update(tmp_path / "index", encoder=encoder)  # the folders of the last run
    assert (done.unchanged, done.images, encoder.read_files) == (7, 7, [])


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
    assert done.images == 8
    update(tmp_path / "anew", pictures)
    assert found(index) == found(tmp_path / "anew")


def test_recordings_among_pictures(pictures: Path, tmp_path: Path) -> None:
    index, one = tmp_path / "index", recording(pictures / "sub0" / "a.wav", 3, 30)
    two = recording(pictures / "b.FLAC", 7)
    soundfile.write(pictures / "silent.wav", np.zeros(RATE), RATE)
    (pictures / "bad.mp3").write_bytes(b"no sound")
    done = update(index, pictures)
    assert (done.embedded, done.images, done.recordings, done.windows) == (9, 7, 2, 3)
    assert str(done).startswith("7 images and 2 recordings (3 windows) in the index: 9 embedded")
    assert {Path(path).name: reason.split(": ")[1] for path, reason in done.unreadable.items()} == {
        "silent.wav": "no speech in it, only silence",
        "bad.mp3": ANY,
    }
    assert spans(index, one) == [("tone3", 0.9), ("tone30", 2.5)]
    described = Index(index).describe()
    assert (described["images"], described["recordings"], described["windows"]) == (7, 2, 3)
    assert described["hours"] == pytest.approx(3 * 0.7 / 3600, rel=0.1)

    one.rename(pictures / "renamed.wav")
    shutil.copy(pictures / "renamed.wav", pictures / "copy.wav")
    recording(two, 9, 11)
    heard = ToneEncoder()
    done = update(index, pictures, embed_recording=heard)
    assert heard.read_files == [str(two)]
    assert (done.embedded, done.recognised, done.removed, done.recordings) == (1, 2, 1, 3)
    assert spans(index, two) == [("tone11", 2.5), ("tone9", 0.9)]
    assert spans(index, pictures / "copy.wav") == [("tone3", 0.9), ("tone30", 2.5)]
    update(tmp_path / "anew", pictures)
    assert found(index) == found(tmp_path / "anew")
    for path in ("renamed.wav", "copy.wav", "b.FLAC"):
        (pictures / path).unlink()
    for path in list(pictures.rglob("*.png"))[:3]:
        path.unlink()
    assert update(index, pictures).windows == 0
    assert len(found(index)) == 4


def test_images_with_recordings_between_them_fill_batches(tmp_path: Path) -> None:
    folder, encoder = tmp_path / "media", PixelEncoder()
    folder.mkdir()
    for number in range(4):
        picture(folder / f"{number}.png", number)
        recording(folder / f"{number}.wav", number)
    done = update(tmp_path / "index", folder, encoder=encoder, batch_size=4)
    assert (done.images, done.recordings, encoder.batches) == (4, 4, 1)


def test_a_recording_under_an_images_name_is_unreadable(pictures: Path, tmp_path: Path) -> None:
    one = recording(pictures / "a.wav", 3, 30)
    update(tmp_path / "index", pictures)
    renamed = one.rename(pictures / "a.png")
    done = update(tmp_path / "index", pictures)
    assert list(done.unreadable) == [str(renamed)]
    assert (done.images, done.recordings, done.recognised) == (7, 0, 0)
    update(tmp_path / "anew", pictures)
    assert found(tmp_path / "index") == found(tmp_path / "anew")


def test_recordings_are_left_alone_if_nothing_embeds_them(pictures: Path, tmp_path: Path) -> None:
    recording(pictures / "a.wav", 3)
    done = update(tmp_path / "index", pictures, embed_recording=None)
    assert (done.images, done.recordings, done.unreadable) == (7, 0, {})


def test_a_recording_that_was_written_to_meanwhile_is_read_again(tmp_path: Path) -> None:
    path = recording(tmp_path / "recordings" / "a.wav", 1)

    class Writing(ToneEncoder):
        def __call__(self, path: str):
            os.utime(path)
            return super().__call__(path)

    done = update(tmp_path / "index", path.parent, embed_recording=Writing())
    assert "changed while it was read" in done.unreadable[str(path)]
    assert update(tmp_path / "index", path.parent).recordings == 1


def test_bad_pictures_are_reported_and_tried_again(pictures: Path, tmp_path: Path, caplog) -> None:
    bad = pictures / "bad.jpg"
    bad.write_bytes((pictures / "sub0" / "0.jpg").read_bytes()[:-100])
    (pictures / "empty.png").touch()
    (pictures / "nowhere.png").symlink_to("absent.png")
    (pictures / "back").symlink_to(pictures)
    done = update(tmp_path / "index", pictures)
    assert done.images == 7
    assert sorted(done.unreadable) == [str(bad), str(pictures / "empty.png")]
    assert "bad.jpg" in caplog.text
    caplog.clear()
    (pictures / "new.png").write_bytes(b"no picture")
    done = update(tmp_path / "index", pictures)
    assert "7 unchanged, 1 unreadable, 2 unreadable as before" in str(done)
    assert list(done.unreadable) == [str(pictures / "new.png")]
    assert "new.png" in caplog.text and "bad.jpg" not in caplog.text
    assert len(Index(tmp_path / "index").describe()["unreadable"]) == 3
    picture(bad, 9)
    assert update(tmp_path / "index", pictures).images == 8
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
    assert (done.images, done.left_out, done.unreadable) == (7, 2, {str(renamed): ANY})
    assert "2 in HEIC left out" in str(done)
    assert "left out: 2 HEIC images" in caplog.text
    assert "pip install pillow-heif" in caplog.text and "magick mogrify" in caplog.text
    done = update(tmp_path / "index", pictures)
    assert (done.embedded, done.recognised, done.left_out, done.images) == (2, 1, 0, 10)


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
    assert update(tmp_path / "index", one.parent).images == 2


def test_a_folder_that_is_not_there_loses_nothing(pictures: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    update(index, pictures)
    other = picture(tmp_path / "other" / "x.png", 50).parent
    assert update(index, other).images == 8  # those elsewhere stay
    pictures.rename(tmp_path / "unmounted")
    with pytest.raises(DataError, match="pictures: no such folder"):
        update(index, pictures)
    assert len(Index(index)) == 8


def test_a_folder_without_permission_loses_nothing(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so the test says what the system would say to others."""
    update(tmp_path / "index", pictures)
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(pictures))
    with pytest.raises(DataError, match="pictures: no permission to list it; ask its owner"):
        update(tmp_path / "index", pictures)
    assert len(Index(tmp_path / "index")) == 7


def test_a_folder_with_nothing_usable_says_what_was_passed_over(
    pictures: Path, tmp_path: Path, caplog
) -> None:
    films, empty = tmp_path / "films", tmp_path / "empty"
    films.mkdir()
    empty.mkdir()
    for name in ("a.MP4", "b.mp4", "notes.txt", "README"):
        (films / name).touch()
    message = r"films: no image and no recording .* passed over: 2 × \.mp4, .*1 × \.txt"
    with pytest.raises(DataError, match=message):
        update(tmp_path / "index", films, pictures)
    assert not (tmp_path / "index").exists()
    update(tmp_path / "index", pictures)
    assert update(tmp_path / "index", films, empty).images == 7
    assert "2 × .mp4" in caplog.text and "empty: no image and no recording" in caplog.text


def test_progress_tells_of_how_many(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    def progress(items, **options):
        shown.append((len(items), options["unit"]))
        return items

    monkeypatch.setattr(module, "progress", progress)
    update(tmp_path / "index", pictures)
    assert (7, "file") in shown


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
    reader = Index(index)
    pictures.rename(tmp_path / "unmounted")
    with pytest.raises(DataError, match="pictures: no such folder"):
        update(index, elsewhere, model=other, force=True)
    assert len(reader) == 8
    (tmp_path / "unmounted").rename(pictures)
    half = type("Half", (PixelEncoder,), {"encode": lambda s, p: PixelEncoder.encode(s, p)[:, :24]})
    done = update(index, elsewhere, model=other, encoder=half(), force=True)  # of other width, too
    assert (done.embedded, done.images, done.removed) == (8, 8, 0)
    assert reader.model == other and len(reader.search(np.ones(24), top=9)) == 8
    assert update(index, model=other, force=True).unchanged == 8


def test_words_of_two_scores_are_not_mixed(pictures: Path, tmp_path: Path) -> None:
    """A development set can choose another ``min_score`` for the same weights."""
    index, later = tmp_path / "index", replace(MODEL, min_score=0.5)
    update(index, pictures)
    assert update(index, model=later).unchanged == 7  # images have no words
    recording(pictures / "a.wav", 3)
    update(index, model=later)
    recording(pictures / "b.wav", 5)
    with pytest.raises(DataError, match=r"index has words from a score of 0\.5 on, .*--force"):
        update(index, model=MODEL)
    assert update(index, model=MODEL, force=True).recordings == 2
    assert Index(index).model == MODEL


def test_rows_of_two_versions_are_not_mixed(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Another version may cut a recording otherwise."""
    index = tmp_path / "index"
    update(index, pictures)
    version = VERSIONS["index"]
    monkeypatch.setitem(VERSIONS, "index", version + 1)
    with pytest.raises(DataError, match=rf"its code: index {version} then, .*--force"):
        update(index)
    assert update(index, force=True).embedded == 7
    assert update(index, force=True).unchanged == 7
    (index / RECORD).unlink()  # made before there were records
    caplog.clear()
    assert update(index).unchanged == 7
    assert f"{index}: what made it is not known; make it again with --force" in caplog.text


SLOW_RUN = """
import sys, time
from pathlib import Path
from tests.espnet_plugin.apps.search.conftest import PixelEncoder, update
class Slow(PixelEncoder):
    def encode(self, pictures):
        print("batch", flush=True)
        time.sleep(0.01)
        return super().encode(pictures)
update(Path(sys.argv[1]), Path(sys.argv[2]), encoder=Slow())
"""


def begun_when_killed(script: str, index: Path, folder: Path, *, at: int, wait: float) -> int:
    """Number of pieces of work that a script had begun when it was killed.

    That is so many seconds after it began piece ``at``, somewhere between two of them.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(index), str(folder)], stdout=subprocess.PIPE, text=True
    )
    for _ in range(at):
        process.stdout.readline()
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    return at + len(process.communicate()[0].splitlines())


def test_a_killed_run_loses_its_batch_at_most(pictures: Path, tmp_path: Path) -> None:
    for seed in range(100, 140):
        picture(pictures / f"{seed}.png", seed)
    index = tmp_path / "index"
    batches = begun_when_killed(SLOW_RUN, index, pictures, at=6, wait=0.01)
    assert batches < 23, "killed too late"
    there = len(Index(index)) if (index / "catalog.sqlite").is_file() else 0
    assert there >= 2 * (batches - 1)
    encoder = PixelEncoder()
    assert update(index, pictures, encoder=encoder).images == 47
    assert len(encoder.read_files) == 47 - there
    update(tmp_path / "anew", pictures)
    assert found(index) == found(tmp_path / "anew")


SLOW_WINDOWS = """
import sys, time
from pathlib import Path
from tests.espnet_plugin.apps.search.conftest import ToneEncoder, update
class Slow(ToneEncoder):
    def __call__(self, path):
        print("recording", flush=True)
        time.sleep(0.01)
        return super().__call__(path)
update(Path(sys.argv[1]), Path(sys.argv[2]), embed_recording=Slow())
"""


def test_a_killed_run_has_all_windows_of_a_recording_or_none(tmp_path: Path) -> None:
    talks, index = tmp_path / "talks", tmp_path / "index"
    for number in range(30):
        recording(talks / f"{number}.wav", number, number + 5, number + 10)
    begun = begun_when_killed(SLOW_WINDOWS, index, talks, at=7, wait=0.015)
    assert begun < 30, "killed too late"
    there = Index(index).describe()
    assert there["recordings"] >= begun - 1
    assert there["windows"] == 3 * there["recordings"]
    heard = ToneEncoder()
    assert update(index, talks, embed_recording=heard).recordings == 30
    assert len(heard.read_files) == 30 - there["recordings"]
    update(tmp_path / "anew", talks)
    assert found(index) == found(tmp_path / "anew")


class Incremental(RuleBasedStateMachine):
    """Whatever happens to a folder, the index is what one made from nothing would be."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / "pictures"
        picture(self.folder / "stays.png", 99)  # a new index of nothing is an error
        self.clock = 10**9

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def touched(self, path: Path) -> None:
        self.clock += 1  # coarse clocks would hide that a file was written twice
        os.utime(path, (self.clock, self.clock))

    names = st.integers(0, 5).map(lambda n: f"{n}.png") | st.sampled_from(["6.wav", "7.wav"])

    @rule(name=names, seed=st.integers(0, 8))
    def write(self, name: str, seed: int) -> None:
        self.touched(picture((self.folder / name).with_suffix(".png"), seed))

    @rule(name=names, numbers=st.lists(st.integers(0, 47), min_size=1, max_size=3))
    def record(self, name: str, numbers: list[int]) -> None:
        self.touched(recording((self.folder / name).with_suffix(".wav"), *numbers))

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

    @rule()
    def whole_update(self) -> None:
        update(self.root / "index", self.folder)
        shutil.rmtree(self.root / "anew", ignore_errors=True)
        update(self.root / "anew", self.folder)
        assert found(self.root / "index") == found(self.root / "anew")

    @invariant()
    def the_index_opens(self) -> None:
        if (self.root / "index" / "catalog.sqlite").is_file():
            found(self.root / "index")


TestIncremental = Incremental.TestCase
TestIncremental.settings = settings(max_examples=8, stateful_step_count=8, deadline=None)
