from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from espnet_plugin.data import frame_store
from espnet_plugin.data.frame_store import FrameStore, StoredFrames
from espnet_plugin.data.record import make_record
from espnet_plugin.utils.errors import DataError

MAKER = make_record("hidden states", {})


def arrays_of(number: int, frames: int, dimensions: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(number)
    return {
        "frames": rng.integers(-127, 128, (frames, 2, 5), dtype=np.int8),  # 10 bytes: no words
        "scale": rng.random((frames, 2)).astype(np.float16),
        "dimensions": dimensions,
    }


def store_of(directory: Path, keys: list[str], job: str = "1") -> FrameStore:
    files = {key: str(directory.parent / key) for key in keys}
    for file in files.values():
        Path(file).open("a").close()
    return FrameStore(directory, files, maker=MAKER, job=job, shared=("dimensions",))


@pytest.fixture
def stored(tmp_path: Path):
    """Two files of two utterances each, by two jobs."""
    keys = ["a", "b", "c", "d"]
    saved = {}
    for job, part in (("1", keys[:2]), ("2", keys[2:])):
        dimensions = np.full((2, 2, 5), int(job), np.float32)
        saved |= {key: arrays_of(ord(key), 3 + ord(key) % 4, dimensions) for key in part}
        store = store_of(tmp_path / "s", keys, job)
        store.save({key: saved[key] for key in part})
        store.write_list(tmp_path / f"frames.{job}.scp", part, {}, what="utterances")
    lists = [(tmp_path / f"frames.{job}.scp").read_text() for job in "12"]
    (tmp_path / "frames.scp").write_text("".join(lists))
    return tmp_path, saved


def test_any_stretch_is_what_was_saved(stored) -> None:
    path, saved = stored
    frames = StoredFrames(path / "frames.scp")
    assert list(frames) == list(saved)
    for key, arrays in saved.items():
        count = len(arrays["frames"])
        assert frames[key].tolist() == [0, count]
        for start, stop in ((0, count), (1, count), (0, 1), (1, 2)):
            read = frames.read(key, start, stop)
            assert read.keys() == arrays.keys()
            assert np.array_equal(read["dimensions"], arrays["dimensions"])
            for name in ("frames", "scale"):
                assert np.array_equal(read[name], arrays[name][start:stop])
                assert read[name].dtype == arrays[name].dtype


def test_a_file_is_one_of_safetensors(stored) -> None:
    path, saved = stored
    tensors = load_file(path / "s" / "frames.1.1.safetensors")
    for name in ("frames", "scale"):
        assert np.array_equal(tensors[name], np.concatenate([saved[key][name] for key in "ab"]))
    assert np.array_equal(tensors["dimensions"], saved["a"]["dimensions"])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_changed_byte_is_found_and_the_utterance_named_and_made_again(data) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, keys = Path(folder), ["a", "b"]
        dimensions = np.zeros((2, 2, 5), np.float32)
        saved = {key: arrays_of(ord(key), 4, dimensions) for key in keys}
        store = store_of(path / "s", keys)
        store.save(saved)
        store.write_list(path / "frames.scp", keys, {}, what="utterances")
        file = path / "s" / "frames.1.1.safetensors"
        content = bytearray(file.read_bytes())
        scale = content.index(saved["a"]["scale"].tobytes())
        codes = content.index(saved["a"]["frames"].tobytes())
        place = data.draw(st.integers(0, 39) | st.integers(scale - codes, scale - codes + 15))
        content[codes + place] ^= 1 << data.draw(st.integers(0, 7))
        stamp = file.stat()
        file.write_bytes(content)
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as a disk does it
        frames = StoredFrames(path / "frames.scp")
        with pytest.raises(DataError, match="damaged in 1 of the frames from 0 to 4"):
            frames.read("a")
        assert np.array_equal(frames.read("b")["frames"], saved["b"]["frames"])
        again = store_of(path / "s", keys)
        again.discard_damaged(keys)
        assert again.missing(keys) == ["a"]
        again.save({key: saved[key] for key in again.missing(keys)})
        again.write_list(path / "frames.scp", keys, {}, what="utterances")
        assert np.array_equal(
            StoredFrames(path / "frames.scp").read("a")["scale"], saved["a"]["scale"]
        )


def test_zeros_of_the_disk_and_a_file_cut_off_are_found(stored) -> None:
    path, saved = stored
    frames, file = StoredFrames(path / "frames.scp"), path / "s" / "frames.2.1.safetensors"
    content = file.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    shared = saved["d"]["dimensions"].tobytes()
    before, after = content[begin:].split(shared)
    file.write_bytes(content[:begin] + bytes(len(before)) + shared + bytes(len(after)))
    with pytest.raises(DataError, match="damaged"):
        frames.read("d")
    file.write_bytes(content[:-3])
    with pytest.raises(DataError, match="is cut off or holds no stored frames; run stage 6 again"):
        frames.read("d")
    for junk in (
        b"",
        content[:4],
        b"\xff" * 100,
        b"\x02" + bytes(7) + b"{}",
        b"\x02" + bytes(7) + b"[]",
    ):
        file.write_bytes(junk)
        with pytest.raises(DataError, match="is cut off or holds no"):
            frames.read("d")
    place = content.index(shared)
    file.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
    with pytest.raises(DataError, match="is cut off or holds no"):
        frames.read("d")
    assert np.array_equal(frames.read("a")["frames"], saved["a"]["frames"])


def test_a_list_that_names_no_frames_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.scp").write_text("a x.npy\nb x.safetensors 0 0\nc x.safetensors 1\n")
    for key in "abc":
        with pytest.raises(DataError, match="names no stored frames"):
            StoredFrames(tmp_path / "x.scp")[key]


def test_files_fill_up_and_those_of_another_model_go(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(frame_store, "FILE_BYTES", 200)
    keys = [f"u{number}" for number in range(9)]
    shared = np.zeros((1, 1, 1), np.float32)
    store = store_of(tmp_path / "s", keys)
    for key in keys:
        store.save({key: arrays_of(1, 4, shared)})  # 60 bytes
    store.write_list(tmp_path / "x.scp", keys, {}, what="utterances")
    files = sorted((tmp_path / "s").glob("*.safetensors"))
    assert len(files) == 3
    for file in files[:2]:
        os.utime(file, (0, 0))  # what has just been written may be another job's, not yet noted
    other = {key: str(tmp_path / key) for key in keys}
    assert (
        FrameStore(tmp_path / "s", other, maker=make_record("hidden states", {"model": 2})).missing(
            keys
        )
        == keys
    )
    assert sorted((tmp_path / "s").glob("*.safetensors")) == files[2:]


def test_two_jobs_may_remove_the_same_file(tmp_path: Path, monkeypatch) -> None:
    listed = Path.glob
    gone = [tmp_path / "frames.2.1.safetensors"]
    monkeypatch.setattr(
        Path, "glob", lambda self, name: gone if name.startswith("frames") else listed(self, name)
    )
    assert store_of(tmp_path, ["a"]).missing(["a"]) == ["a"]
