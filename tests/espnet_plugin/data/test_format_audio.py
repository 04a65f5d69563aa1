"""Recordings: what is converted, kept, skipped, and what a second run does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from espnet_plugin.bin.format_wav_scp import main
from espnet_plugin.data import format_audio
from espnet_plugin.data.scp import read_scp, write_scp
from espnet_plugin.data.skipped import Skipped, read_skipped, write_skipped
from espnet_plugin.media.audio import read_audio
from espnet_plugin.media.formats import format_recording, parse_rate
from espnet_plugin.utils.errors import DataError


def tone(rate: int = 16000, seconds: float = 0.5, channels: int = 1) -> np.ndarray:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)
    return np.stack([wave] * channels, axis=1).astype(np.float32)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A wav.scp with every kind of recording, good and bad."""
    soundfile.write(tmp_path / "right.wav", tone(), 16000, subtype="PCM_16")
    soundfile.write(tmp_path / "rate.wav", tone(22050), 22050, subtype="PCM_16")
    stereo = tone(channels=2)
    stereo[:, 1] = 0.0
    soundfile.write(tmp_path / "stereo.flac", stereo, 16000)
    (tmp_path / "zero.wav").touch()
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    broken = tone()
    broken[7] = np.nan
    soundfile.write(tmp_path / "nan.wav", broken, 16000, subtype="FLOAT")
    (tmp_path / "noise.wav").write_bytes(b"no sound at all")
    names = ["right.wav", "rate.wav", "stereo.flac", "zero.wav", "empty.wav", "nan.wav"]
    names += ["noise.wav", "missing.wav"]
    lines = [f"{Path(name).stem} {tmp_path / name}\n" for name in names]
    (tmp_path / "wav.scp").write_text("".join(lines))
    return tmp_path


def run(corpus: Path, *options: str) -> Path:
    out = corpus / "out"
    main(
        ["--wav_scp", str(corpus / "wav.scp"), "--output_dir", str(out)]
        + ["--audio_format", "wav", "--max_bad", "0.7", *options]
    )
    return out


def test_good_ones_are_ready_and_bad_ones_are_named(
    corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    out = run(corpus)
    scp = read_scp(out / "wav.scp")
    assert list(scp) == ["rate", "right", "stereo"]
    assert scp["right"] == str(corpus / "right.wav")  # used as it lies
    assert read_scp(out / "utt2num_samples") == {"rate": "8000", "right": "8000", "stereo": "8000"}
    for path in scp.values():
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    mixed, _ = soundfile.read(scp["stereo"])
    np.testing.assert_allclose(mixed, tone()[:, 0] / 2, atol=1e-4)
    skipped = {row.utterance: row for row in read_skipped(out)}
    for name, reason in {
        "zero": "empty file",
        "empty": "no samples",
        "nan": "NaN",
        "noise": "cannot be read",
        "missing": "no such file",
    }.items():
        row = skipped.pop(name)
        assert reason in row.problem and row.file == str(corpus / f"{name}.wav")
        assert f"SKIPPED {name}: {row.file}: {row.problem}" in caplog.text
    assert not skipped
    assert f"skipped: 5 utterances, listed in {out / 'skipped.tsv'}" in caplog.text
    assert "3 recordings ready: 0.00 h, 0.50 to 0.50 s long" in caplog.text


def test_one_list_has_what_the_preparation_skipped_and_unreadable_images(
    corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    soundfile.write(corpus / "right.wav", np.zeros(8000), 16000)
    sources = read_scp(corpus / "wav.scp")
    Image.new("RGB", (8, 8)).save(corpus / "good.png")
    (corpus / "odd.png").write_text("no pixels")
    write_scp(corpus / "image.scp", {n: corpus / f"{n}.png" for n in ("good", "odd", "gone")})
    shown = {"rate": "odd", "stereo": "gone"}
    write_scp(corpus / "utt2image", {u: shown.get(u, "good") for u in sources})
    before = Skipped("first_0", "a\tb.wav", "recording missing")
    write_skipped(corpus, [before])
    for _ in range(2):  # the second run does not list them twice
        out = run(corpus, "--max_bad", "0.9")
        assert list(read_scp(out / "wav.scp")) == ["right"]
        assert list(read_scp(out / "image.scp")) == ["good"]
        rows = read_skipped(out)
        assert len(rows) == 5 + 2 + 1
        assert rows[-1] == ("first_0", "a b.wav", "recording missing")
        problems = {row.utterance: row.problem for row in rows}
        assert "not an image" in problems["rate"] and problems["stereo"] == "no such file"
    assert f"1 silent, but used, such as {corpus / 'right.wav'}" in caplog.text
    assert "1 of 3 images can be read" in caplog.text


def test_too_many_bad_ones_end_the_stage(corpus: Path) -> None:
    with pytest.raises(SystemExit, match=r"utterances that cannot be used: 5 of 8; .*empty\.wav"):
        run(corpus, "--max_bad", "0.5")
    assert len(read_skipped(corpus / "out")) == 5  # what was found is listed all the same


def test_too_many_missing_ones_end_the_stage_before_it_formats(corpus: Path) -> None:
    write_skipped(corpus, [Skipped(f"{n}", f"{n}.wav", "recording missing") for n in range(20)])
    with pytest.raises(SystemExit, match=f"{corpus}: utterances that cannot be used: 20 of 28"):
        run(corpus)
    assert not (corpus / "out").exists()


def test_second_run_converts_only_what_is_new(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(corpus)
    soundfile.write(corpus / "missing.wav", tone(), 16000)
    soundfile.write(corpus / "rate.wav", tone(8000), 8000)
    done = []

    def spy(pair: tuple[str, str], **options: object) -> format_audio.Outcome:
        done.append(pair[0])
        return original(pair, **options)

    original = format_audio.format_item
    monkeypatch.setattr(format_audio, "format_item", spy)
    out = run(corpus)
    # the bad ones are tried again, the changed one is converted again
    assert sorted(done) == ["empty", "missing", "nan", "noise", "rate", "zero"]
    assert sorted(read_scp(out / "wav.scp")) == ["missing", "rate", "right", "stereo"]


def test_killed_job_goes_on(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def killed(pair: tuple[str, str], **options: object) -> format_audio.Outcome:
        done.append(pair[0])
        if len(done) == 3:
            raise KeyboardInterrupt
        return original(pair, **options)

    original = format_audio.format_item
    monkeypatch.setattr(format_audio, "format_item", killed)
    with pytest.raises(KeyboardInterrupt):
        run(corpus)
    assert done == ["right", "rate", "stereo"]
    log = corpus / "out" / "manifest" / "1.jsonl"
    log.write_text(log.read_text()[:-20])  # while the line of rate was written
    for _ in range(2):
        assert list(read_scp(run(corpus) / "wav.scp")) == ["rate", "right", "stereo"]
    bad = ["zero", "empty", "nan", "noise", "missing"]
    assert done[3:] == ["rate", "stereo", *bad, *bad]


def test_other_settings_void_what_was_made(corpus: Path) -> None:
    run(corpus)
    out = run(corpus, "--fs", "8k")
    assert set(read_scp(out / "utt2num_samples").values()) == {"4000"}
    for path in read_scp(run(corpus) / "wav.scp").values():
        assert soundfile.info(path).samplerate == 16000


def test_array_of_jobs_gives_the_same(corpus: Path) -> None:
    alone = {name: (run(corpus) / name).read_text() for name in ("wav.scp", "utt2num_samples")}
    for part in ("1/2", "2/2"):
        run(corpus, "--part", part)
    out = run(corpus, "--merge")
    assert {name: (out / name).read_text() for name in alone} == alone
    for log in (out / "manifest").iterdir():
        log.write_text("".join(log.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(SystemExit, match=r"\d recordings? not formatted, .* did not finish"):
        run(corpus, "--merge")


def test_several_processes_give_the_same(corpus: Path) -> None:
    alone = (run(corpus) / "utt2num_samples").read_text()
    for path in (corpus / "out" / "manifest").iterdir():
        path.unlink()
    assert (run(corpus, "--nj", "2") / "utt2num_samples").read_text() == alone
    log = corpus / "out" / "manifest" / "1.jsonl"
    assert len([json.loads(row) for row in log.read_text().split("\n") if row]) == 8


def test_cut_off_recording_is_found(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.flac", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    data = (tmp_path / "x.flac").read_bytes()
    (tmp_path / "x.flac").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"cut off|cannot be read"):
        read_audio(str(tmp_path / "x.flac"))


def test_resampling_keeps_the_tone(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", tone(44100), 44100)
    recording = format_recording(
        str(tmp_path / "x.wav"), tmp_path / "y.flac", rate=16000, audio_format="flac"
    )
    assert recording.changes == ("resampled from 44100 Hz",)
    wave, rate = soundfile.read(recording.path)
    assert rate == 16000
    np.testing.assert_allclose(wave[800:-800], tone()[800:-800, 0], atol=2e-3)


def test_segments_and_pipes_are_refused(corpus: Path) -> None:
    with pytest.raises(DataError, match="a command instead of a file"):
        read_audio("sox x.wav -t wav - |")
    (corpus / "segments").touch()
    with pytest.raises(SystemExit, match="segments: not supported"):
        run(corpus)


@pytest.mark.parametrize(("text", "rate"), [("16k", 16000), ("16000", 16000), ("22050", 22050)])
def test_parse_rate(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


def test_parse_rate_error() -> None:
    with pytest.raises(DataError, match="not a sampling rate"):
        parse_rate("fast")
