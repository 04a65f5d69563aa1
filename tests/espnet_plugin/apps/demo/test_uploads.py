from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from espnet_plugin.apps.demo.uploads import (
    Limits,
    VisitorError,
    checked_text,
    read_sent_image,
    read_sent_recording,
)
from espnet_plugin.media import images
from tests.phones import write_aac, write_heic

LIMITS = Limits(size=1024, seconds=3)


def tone(seconds: float, rate: int = 16000, channels: int = 1) -> np.ndarray:
    wave = 0.3 * np.sin(np.arange(int(seconds * rate)) * 0.1)
    return np.stack([wave] * channels, axis=1)


def bad_clips() -> dict[str, tuple[Callable[[Path], object], str]]:
    return {
        "short": (lambda path: soundfile.write(path, tone(0.05), 16000), "0.05 s, too short"),
        "long": (
            lambda path: soundfile.write(path, tone(600, 8000), 8000),
            "10 minutes long; at most",
        ),
        "text": (lambda path: path.write_text("no sound"), "cannot be used as a recording: cannot"),
        "empty": (lambda path: path.write_bytes(b""), "cannot be used as a recording: empty file"),
        "no samples": (lambda path: soundfile.write(path, tone(0), 16000), "no samples"),
        "channels": (
            lambda path: soundfile.write(path, tone(1, channels=100), 16000),
            "too many channels",
        ),
        "NaN": (
            lambda path: soundfile.write(path, np.full(16000, np.nan), 16000, subtype="FLOAT"),
            "NaN",
        ),
    }


@pytest.mark.parametrize("kind", bad_clips())
def test_one_sentence_without_a_path(kind: str, tmp_path: Path) -> None:
    make, words = bad_clips()[kind]
    path = tmp_path / "clip.wav"
    make(path)
    with pytest.raises(VisitorError, match=words) as error:
        read_sent_recording(str(path), limits=LIMITS, rate=16000)
    assert str(tmp_path) not in str(error.value)
    assert str(error.value).startswith("clip.wav ")
    assert str(error.value).replace("clip.wav", "it").count(".") <= 3


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_stereo_at_another_rate_is_taken(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"clip.{suffix}"
    soundfile.write(path, tone(1, rate=44100, channels=2), 44100)
    samples = read_sent_recording(str(path), limits=LIMITS, rate=16000)
    assert samples.ndim == 1
    assert len(samples) == pytest.approx(16000, rel=0.1)


def test_a_phones_recording_and_photograph_are_taken(tmp_path: Path) -> None:
    path = write_aac(tmp_path / "clip.m4a", tone(2, rate=44100)[:, 0].astype(np.float32), 44100)
    samples = read_sent_recording(str(path), limits=LIMITS, rate=16000)
    assert len(samples) == pytest.approx(32000, rel=0.05)
    with pytest.raises(VisitorError, match="seconds long; at most 1 second"):
        read_sent_recording(str(path), limits=Limits(seconds=1), rate=16000)
    picture = write_heic(tmp_path / "picture.heic", np.full((24, 32, 3), 99, np.uint8))
    assert read_sent_image(str(picture)).size == (32, 24)


def test_a_page_without_their_packages_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr(images, "reads_heif", lambda: False)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    for name, brand, read in (
        ("upload", b"M4A ", partial(read_sent_recording, limits=LIMITS, rate=16000)),
        ("upload.heic", b"heic", read_sent_image),
    ):
        path = tmp_path / name
        path.write_bytes(b"\0\0\0\x24ftyp" + brand + bytes(100))
        with pytest.raises(VisitorError, match="lacks the package that reads it") as error:
            read(str(path))
        assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize("mode", ["CMYK", "P", "L", "RGBA", "1"])
def test_pictures_of_every_mode_are_taken(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.tiff"
    Image.new(mode, (20, 10)).save(path)
    assert (read_sent_image(str(path)).mode, read_sent_image(str(path)).size) == ("RGB", (20, 10))


def test_what_is_no_picture_and_what_has_too_many_pixels(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG and no more")
    with pytest.raises(VisitorError, match="cannot be used as an image"):
        read_sent_image(str(path))
    Image.new("1", (20_000, 10_000)).save(path)
    with pytest.raises(VisitorError, match="200000000 pixels"):
        read_sent_image(str(path))
    # its decoder would start another program
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(VisitorError, match="cannot be used as an image"):
        read_sent_image(str(path))


@pytest.mark.parametrize("text", ["", "  \n", None, "x" * 201])
def test_texts(text: str | None) -> None:
    assert checked_text(" a  red\nbicycle ") == "a red bicycle"
    with pytest.raises(VisitorError):
        checked_text(text)
