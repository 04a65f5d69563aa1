"""Recordings whose header counts more samples than they hold."""

from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from espnet_plugin.bin.format_wav_scp import main
from espnet_plugin.data.scp import read_scp
from espnet_plugin.media.audio import (
    is_recording,
    read_audio,
    read_mono,
    resampled,
    shortfall,
)
from espnet_plugin.media.decoders import Header
from espnet_plugin.media.formats import format_recording
from espnet_plugin.utils.errors import DataError
from tests.phones import tone, write_aac

RATE = 48000


def write_vorbis(path: Path, *, promised: int) -> None:
    """Two seconds of Vorbis whose last page promises so many samples more than there are."""
    # noise fills several pages; of a single one libsndfile corrects the length itself
    wave = np.random.default_rng(0).normal(0, 0.2, 2 * RATE).clip(-1, 1)
    soundfile.write(path, wave, RATE, format="OGG", subtype="VORBIS")
    data = bytearray(path.read_bytes())
    page = data.rfind(b"OggS")
    (position,) = struct.unpack_from("<q", data, page + 6)
    struct.pack_into("<q", data, page + 6, position + promised)
    struct.pack_into("<I", data, page + 22, 0)
    struct.pack_into("<I", data, page + 22, ogg_crc(data[page:]))
    path.write_bytes(data)


def ogg_crc(page: bytes) -> int:
    """The checksum of an Ogg page (RFC 3533), bit by bit: polynomial 0x04c11db7, from 0."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = ((crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


@pytest.mark.parametrize("promised", [0, 448, 896])
def test_a_header_that_counts_a_block_or_two_too_many(tmp_path: Path, promised: int) -> None:
    write_vorbis(tmp_path / "x.ogg", promised=promised)
    assert soundfile.info(tmp_path / "x.ogg").frames == 2 * RATE + promised
    audio = read_audio(str(tmp_path / "x.ogg"))
    assert audio.samples.shape == (2 * RATE, 1)
    assert audio.missing == promised


def test_one_that_lacks_more_is_cut_off(tmp_path: Path) -> None:
    write_vorbis(tmp_path / "x.ogg", promised=16000)
    with pytest.raises(DataError, match="cut off: 96000 of 112000 samples"):
        read_audio(str(tmp_path / "x.ogg"))


@pytest.mark.parametrize(
    ("promised", "read", "rate", "missing"),
    [
        (32000, 32000, 16000, 0),
        (32000, 32500, 16000, 0),  # more than promised is fine
        (32000, 31200, 16000, 800),  # 50 ms
        (32000, 31199, 16000, None),
        (320000, 316800, 16000, 3200),  # 1 % of 20 s
        (320000, 316799, 16000, None),
        (88200, 85995, 44100, 2205),  # 50 ms at another rate
        (88200, 85994, 44100, None),
    ],
)
def test_what_may_be_missing(promised: int, read: int, rate: int, missing: int | None) -> None:
    header = Header(promised, rate, channels=1)
    recording = SimpleNamespace(header=header, promised=lambda _: promised)
    if missing is None:
        with pytest.raises(DataError, match=f"cut off: {read} of {promised} samples"):
            shortfall(recording, read=read, last=0)
    else:
        assert shortfall(recording, read=read, last=0) == missing


def test_what_is_missing_is_counted_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for name, promised in (("a", 0), ("b", 448), ("c", 896), ("d", 16000)):
        write_vorbis(tmp_path / f"{name}.ogg", promised=promised)
    (tmp_path / "wav.scp").write_text("".join(f"{n} {tmp_path}/{n}.ogg\n" for n in "abcd"))
    out = tmp_path / "out"
    arguments = ["--wav_scp", str(tmp_path / "wav.scp"), "--output_dir", str(out)]
    for _ in range(2):  # the second run knows it from its journal
        caplog.clear()
        main([*arguments, "--max_bad", "0.5"])
        assert "2 end a little before their headers say" in caplog.text
    assert read_scp(out / "utt2num_samples") == dict.fromkeys("abc", "32000")
    assert "cut off: 96000 of 112000 samples" in (out / "skipped.tsv").read_text()


def write_wav_header(path: Path, data_bytes: int) -> None:
    """One second of 16 bits, whose header says another length."""
    soundfile.write(path, np.full(16000, 0.5), 16000, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"data") + 4, data_bytes)
    path.write_bytes(data)


def test_a_wrong_header_is_not_handed_on(tmp_path: Path) -> None:
    """A WAV file is used as it lies, but not one that promises more than it holds."""
    write_wav_header(tmp_path / "x.wav", 32200)
    recording = format_recording(
        str(tmp_path / "x.wav"), tmp_path / "y.wav", rate=16000, audio_format="wav"
    )
    assert recording.path == str(tmp_path / "y.wav")
    assert recording.changes == ("end a little before their headers say: used",)
    assert soundfile.info(recording.path).frames == recording.num_samples == 16000


@pytest.mark.parametrize("data_bytes", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_header_written_before_the_length_was_known(tmp_path: Path, data_bytes: int) -> None:
    write_wav_header(tmp_path / "x.wav", data_bytes)
    audio = read_audio(str(tmp_path / "x.wav"))
    assert (len(audio.samples), audio.missing) == (16000, 0)


def test_a_header_longer_than_the_file(tmp_path: Path) -> None:
    write_wav_header(tmp_path / "x.wav", 64000)
    with pytest.raises(DataError, match="cut off: 16000 of 32000 samples"):
        read_audio(str(tmp_path / "x.wav"))


@pytest.mark.parametrize("share", [1 / 3, 2 / 3, 0.9])
@pytest.mark.parametrize(
    ("container", "encoding"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("WAV", "ULAW"),
        ("WAV", "IMA_ADPCM"),
        ("WAV", "GSM610"),
        ("WAVEX", "PCM_24"),
        ("RF64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("W64", "PCM_16"),
        ("AU", "FLOAT"),
        ("CAF", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_a_file_that_ends_early(
    tmp_path: Path, container: str, encoding: str, share: float
) -> None:
    path = tmp_path / "x"
    wave = np.random.default_rng(0).normal(0, 0.1, 32000).clip(-1, 1)
    soundfile.write(path, wave, 16000, format=container, subtype=encoding)
    assert read_audio(str(path)).missing == 0
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(DataError, match="cut off|cannot be read|no samples"):
        read_audio(str(path))


def test_flac_that_was_written_to_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    soundfile.write(path, tone(0.5, RATE), RATE)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the number of samples, 36 bits in the first block
    data[22:26] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(DataError, match="its header gives no length; convert it to WAV"):
        read_mono(str(path), RATE)


def test_samples_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "x.raw").write_bytes(bytes(100))
    with pytest.raises(DataError, match="samples without a header; convert it to WAV"):
        read_audio(str(tmp_path / "x.raw"))


def test_a_folder_is_no_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder, not a file"):
        read_audio(str(tmp_path))


def test_a_header_of_more_samples_than_the_memory_holds(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    soundfile.write(path, np.full(16000, 0.5), 16000, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[21] |= 0x0F  # the stream's number of samples, 36 bits
    data[22:26] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read|cut off"):
        read_audio(str(path))
    with pytest.raises(DataError, match="cannot be read|cut off"):
        read_mono(str(path), 16000)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "m4a"])
def test_block_by_block_gives_what_reading_at_once_does(tmp_path: Path, kind: str) -> None:
    path = str(tmp_path / f"x.{kind}")
    stereo = np.random.default_rng(0).normal(0, 0.1, (150_000, 2)).astype(np.float32)
    if kind == "m4a":
        pytest.importorskip("av")
        write_aac(Path(path), tone(3.2, 44100), 44100)
    else:
        soundfile.write(path, stereo, 44100)
    audio = read_audio(path)
    assert is_recording(path.upper())
    whole = read_mono(path, 16000)
    np.testing.assert_allclose(whole, resampled(audio.mono, audio.rate, 16000), atol=1e-6)
    part = read_mono(path, audio.rate, start=0.5, end=2)
    first, last = round(0.5 * audio.rate), 2 * audio.rate
    np.testing.assert_allclose(part, audio.mono[first:last], atol=1e-6)
    assert len(read_mono(path, 16000, start=0.5, end=2)) == 24000
    rest = read_mono(path, audio.rate, start=3, end=100)
    np.testing.assert_allclose(rest, audio.mono[3 * audio.rate :], atol=1e-6)


def test_block_by_block_refuses_what_reading_at_once_does(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros(200_000), RATE)
    path.write_bytes(path.read_bytes()[:150_000])
    with pytest.raises(DataError, match="cut off: 74978 of 200000 samples"):
        read_mono(str(path), 16000)
    soundfile.write(path, np.full(100, np.nan, np.float32), RATE, subtype="FLOAT")
    with pytest.raises(DataError, match="NaN"):
        read_mono(str(path), 16000)
    soundfile.write(path, np.zeros(0), RATE)
    with pytest.raises(DataError, match="no samples"):
        read_mono(str(path), 16000)
    with pytest.raises(DataError, match="no such file"):
        read_mono(str(tmp_path / "absent.wav"), 16000)
