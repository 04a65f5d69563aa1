"""Whatever bytes a file holds, reading it gives a value or an error of one sentence, and soon."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local.custom.table import REQUIRED, spoken_captions
from local.flickr8k.prepare import read_captions, read_recordings, read_speakers, read_splits
from PIL import Image

from espnet_plugin.apps.search.index import Index
from espnet_plugin.data.frame_store import FrameStore, StoredFrames
from espnet_plugin.data.keyword_file import read_keywords
from espnet_plugin.data.manifest import Manifest
from espnet_plugin.data.record import make_record, record_path, require_fresh
from espnet_plugin.data.sampler_files import read_lengths
from espnet_plugin.data.scp import read_scp
from espnet_plugin.evaluation.alignments import read_ctm
from espnet_plugin.media.audio import read_audio
from espnet_plugin.media.images import read_image
from espnet_plugin.model.vocabulary import KeywordVocabulary
from espnet_plugin.pretrained.released import released_models
from espnet_plugin.pretrained.released_cache import RECORD_FILE, fetched
from espnet_plugin.pretrained.stored_model import read_config
from espnet_plugin.teachers.clip_config import read_clip_config
from espnet_plugin.teachers.weights import read_pickle
from espnet_plugin.utils.unpack import unpack
from tests.pickles import raw_archive

EXAMPLES = settings(
    max_examples=100, deadline=20_000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MAKER = make_record("hidden states", {})
KEYWORDS = {
    "utt": "a",
    "caption": "a dog",
    "caption_ids": [320, 1929],
    "fired": [3],
    "keywords": [{"token_id": 320, "token": "a</w>", "score": 0.5, "start": 0.1, "end": 0.2}],
}
CLIP = {"embed_dim": 8, "vision_cfg": {"width": 8}, "text_cfg": {"tokenizer_kwargs": {}}}


def _sound(form: str, subtype: str) -> bytes:
    stream = io.BytesIO()
    wave = np.random.default_rng(0).normal(0, 0.1, 4000)
    soundfile.write(stream, wave, 16000, format=form, subtype=subtype)
    return stream.getvalue()


def _picture(form: str, mode: str) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(stream, form)
    return stream.getvalue()


def _notes(path: Path) -> Any:
    directory = path.parent / "results" / "manifest"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "1.jsonl").write_bytes(path.read_bytes())
    return Manifest(directory.parent, maker=MAKER).current({"a": "a.wav"})


def _frames(path: Path) -> Any:
    file, scp = path.with_name("frames.safetensors"), path.with_name("frames.scp")
    file.write_bytes(path.read_bytes())
    scp.write_text(f"a {file} 0 3\n")
    return StoredFrames(scp).read("a")


def _stored_frames() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        store = FrameStore(folder, {"a": __file__}, maker=MAKER, shared=("dimensions",))
        frames, dimensions = np.ones((3, 2, 4), np.int8), np.ones((2, 2, 4), np.float32)
        store.save({"a": {"frames": frames, "dimensions": dimensions}})
        store.write_list(Path(folder) / "a.scp", ["a"], {}, what="utterances")
        (file,) = Path(folder).glob("*.safetensors")
        return file.read_bytes()


def _record(path: Path) -> Any:
    record_path(path).write_bytes(path.read_bytes())
    return require_fresh([path], remedy="do it again")


def _index(path: Path) -> Any:
    (path.parent / "catalog.sqlite").write_bytes(path.read_bytes())
    return Index(path.parent)


def _converted(path: Path) -> Any:
    model = released_models()[0]
    folder = path.parent / model.name
    folder.mkdir()
    (folder / RECORD_FILE).write_bytes(path.read_bytes())
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SPEECHCLIP_CACHE", str(path.parent))
        return fetched(model)


def _custom(path: Path) -> Any:
    parent = path.parent
    return list(spoken_captions(path, parent, parent, with_text=True, required=REQUIRED))


def _weights(path: Path) -> Any:
    return read_pickle(raw_archive(path.with_name("weights"), path.read_bytes()))


def _unpacked(path: Path, name: str = "a.zip") -> None:
    """Nothing may be outside the folder to which it is unpacked."""
    archive = path.rename(path.with_name(name))
    (path.parent / "b").mkdir()
    try:
        unpack(archive, path.parent / "b")
    finally:
        assert {each.name for each in path.parent.iterdir()} == {name, "b"}


def _archive(kind: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "b").mkdir()
        (Path(folder) / "b" / "a.txt").write_text("a dog")
        made = shutil.make_archive(f"{folder}/a", kind, Path(folder) / "b")
        return Path(made).read_bytes()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


# what reads a file, and a file that it reads
PARSERS: dict[str, tuple[Callable[[Path], Any], bytes]] = {
    "table": (read_scp, b"a 1\nb\t2 3\n"),
    "lengths": (lambda path: read_lengths([str(path)]), b"a 16000\nb 99\n"),
    "Flickr8k's captions": (read_captions, b"1_a.jpg#0\tA dog .\n1_a.jpg#1\tA cat .\n"),
    "Flickr8k's lists": (lambda path: read_splits({"train": path}, {"1_a": 0}), b"1_a.jpg\n"),
    "Flickr8k's recordings": (read_recordings, b"1_a_0.wav 1_a.jpg #0\n"),
    "Flickr8k's speakers": (read_speakers, b"1_a_0.wav 3\n"),
    "a corpus's table": (
        _custom,
        b"wav\timage\tcaption\n" + b"".join(b"%d.wav\t%d.jpg\ta dog\n" % (n, n) for n in range(3)),
    ),
    "vocabulary": (KeywordVocabulary.from_file, b"id\ttoken\tcount\n3\ta\t9\n5\tb\t1\n"),
    "converted model's record": (_converted, _json({"repository": "a", "path": "b"})),
    "CTM": (read_ctm, b"a 1 0.10 0.25 dog 0.9\na 1 0.5 0.2 ran\n"),
    "keywords": (read_keywords, _json(KEYWORDS)),
    "manifest": (_notes, _json(["a", "m", "a.wav", [1, 2], "a.npy", [3, 4], None])),
    "stored frames": (_frames, _stored_frames()),
    "record": (_record, _json({"text": ["a.txt", "0" * 64]})),
    "CLIP's configuration": (lambda path: read_clip_config(str(path)), _json(CLIP)),
    "configuration": (read_config, b"model_conf: {parallel: true}\nbest: [[valid, loss, min]]\n"),
    "weights": (_weights, pickle.dumps({"a": [1, 2.5, "b"]}, protocol=2)),
    "a corpus's archive": (_unpacked, _archive("zip")),
    "a corpus's tar file": (partial(_unpacked, name="a.tar"), _archive("tar")),
    "catalog": (_index, b"SQLite format 3\0" + bytes(84)),
    "WAV": (lambda path: read_audio(str(path)), _sound("WAV", "PCM_16")),
    "RF64": (lambda path: read_audio(str(path)), _sound("RF64", "PCM_16")),
    "AIFF": (lambda path: read_audio(str(path)), _sound("AIFF", "PCM_16")),
    "Wave64": (lambda path: read_audio(str(path)), _sound("W64", "PCM_16")),
    "AU": (lambda path: read_audio(str(path)), _sound("AU", "PCM_16")),
    "SPHERE": (lambda path: read_audio(str(path)), _sound("NIST", "PCM_16")),
    "FLAC": (lambda path: read_audio(str(path)), _sound("FLAC", "PCM_16")),
    "Ogg": (lambda path: read_audio(str(path)), _sound("OGG", "VORBIS")),
    "JPEG": (read_image, _picture("JPEG", "RGB")),
    "PNG": (read_image, _picture("PNG", "RGBA")),
    "GIF": (read_image, _picture("GIF", "P")),
    "TIFF": (read_image, _picture("TIFF", "RGB")),
    "WebP": (read_image, _picture("WEBP", "RGB")),
    "BMP": (read_image, _picture("BMP", "RGB")),
}


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """A file cut off, with bytes changed, or with a piece put in."""
    content = bytearray(content[: draw(st.integers(0, len(content)) | st.just(len(content)))])
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, min(len(content), 512)))
        piece = draw(st.binary(max_size=8) | st.sampled_from(PIECES))
        content[place : place + draw(st.sampled_from([0, len(piece)]))] = piece
    return bytes(content)


PIECES = (
    b")R",
    b"}b",
    b"-2",
    b"1e999",
    b"NaN",
    b"null",
    b"[" * 3000,
    b"\xff" * 8,
    b"\0" * 8,
    b'"',
    b"\n",
    b"\r",
)


@pytest.mark.parametrize("name", PARSERS)
def test_a_value_or_a_sentence(name: str) -> None:
    read, content = PARSERS[name]

    @EXAMPLES
    @given(damaged(content) | st.binary(max_size=200))
    def run(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file.json"
            path.write_bytes(data)
            try:
                read(path)
            except (OSError, ValueError) as error:
                assert str(error)

    run()


@pytest.mark.parametrize("name", sorted(PARSERS.keys() - {"catalog"}))
def test_the_whole_file_is_read(name: str, tmp_path: Path) -> None:
    read, content = PARSERS[name]
    (tmp_path / "file.json").write_bytes(content)
    read(tmp_path / "file.json")


def test_an_archive_with_a_nameless_entry(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x", "content")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    for place in (26, data.index(b"PK\1\2") + 28):  # the name is one of the extra fields now
        data[place : place + 4] = b"\0\0\1\0"
    (tmp_path / "a.zip").write_bytes(data)
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match="''.* would be outside"):
        unpack(tmp_path / "a.zip", tmp_path / "b")
