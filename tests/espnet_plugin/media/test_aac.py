"""Recordings as phones make them; PyAV writes them here."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_plugin.media.audio import read_audio, read_header
from espnet_plugin.media.formats import format_recording
from espnet_plugin.utils.errors import DataError
from tests.phones import tone, write_aac

RATE = 16000


@pytest.fixture
def no_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)  # an import of it fails


@pytest.mark.parametrize("name", ["a.m4a", "a.MP4", "called.wav"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_tone_is_heard_as_it_was(name: str, channels: int, tmp_path: Path) -> None:
    path = write_aac(tmp_path / name, tone(2, 44100), 44100, channels=channels)
    audio = read_audio(str(path))
    assert (audio.rate, audio.kind, audio.samples.shape[1]) == (44100, ("MP4", "AAC"), channels)
    assert audio.samples.dtype == np.float32
    # the encoder adds up to two packets of 1024 samples
    assert 0 <= len(audio.samples) - 2 * 44100 <= 2048
    strength = np.abs(np.fft.rfft(audio.mono[4096 : 4096 + 44100]))  # one second: a bin is 1 Hz
    assert strength.argmax() == 440
    # some encoders swing where a tone ends
    assert np.abs(audio.mono[4096:-8192]).max() == pytest.approx(0.3, abs=0.03)
    assert np.array_equal(read_audio(path.read_bytes()).samples, audio.samples)
    header = read_header(str(path))
    assert (header.rate, header.channels) == (44100, channels)
    assert header.num_samples == pytest.approx(len(audio.samples), abs=1024)


def test_it_becomes_what_the_recipe_trains_on(tmp_path: Path) -> None:
    path = write_aac(tmp_path / "a.m4a", tone(1, 44100), 44100, channels=2)
    done = format_recording(str(path), tmp_path / "a.flac", rate=RATE, audio_format="flac")
    mixed = "with several channels mixed down to one"
    assert done.changes == ("resampled from 44100 Hz", mixed)
    assert soundfile.info(done.path).frames == done.num_samples
    assert done.num_samples == pytest.approx(RATE, abs=750)


@pytest.mark.parametrize("faststart", [True, False])
def test_half_a_file_is_cut_off(faststart: bool, tmp_path: Path) -> None:
    path = write_aac(tmp_path / "a.m4a", tone(5, RATE), RATE, faststart=faststart)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut off"):
        read_audio(str(path))


def test_what_only_begins_like_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x1cftypM4A " + b"no recording" * 100)
    for read in (read_audio, read_header):
        with pytest.raises(DataError):
            read(str(path))


def test_without_pyav_it_says_what_to_install_and_what_converts(
    tmp_path: Path, no_pyav: None
) -> None:
    path = tmp_path / "my note.m4a"
    path.write_bytes(b"\0\0\0\x1cftypM4A ")
    said = r"pip install av \(extra: phone\), or convert it to WAV$"
    for read in (read_audio, read_header):
        with pytest.raises(DataError, match=said):
            read(str(path))


def test_another_format_must_be_converted(tmp_path: Path) -> None:
    path = tmp_path / "a.wma"
    path.write_bytes(b"0&\xb2u\x8ef\xcf\x11" * 100)
    with pytest.raises(DataError, match="cannot be read .*convert it to WAV"):
        read_audio(str(path))
