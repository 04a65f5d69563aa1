from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_plugin.apps.demo.backend import Backend
from espnet_plugin.apps.search.encoder import embed_recording, load_encoders
from espnet_plugin.apps.search.model import IndexedModel
from espnet_plugin.apps.search.query import embed_query
from espnet_plugin.inference.speechclip import SpeechCLIP
from espnet_plugin.utils.errors import DataError


@pytest.mark.parametrize(
    "weight, chosen, branch",
    [
        (None, None, "parallel"),
        (0.2, None, "parallel"),
        (0.2, "both", "both"),
        (0.2, "cascaded", "cascaded"),
    ],
)
def test_windows_are_embedded_like_queries_with_keywords_at_their_times(
    weight: float | None, chosen: str | None, branch: str, exported: Path, tmp_path: Path
) -> None:
    """Two bursts of noise, from 1 to 1.8 s and from 4 to 4.6 s, in stereo at another rate."""
    samples = np.zeros((5 * 44100, 2))
    rng = np.random.default_rng(0)
    for start, end in ((44100, 79380), (176400, 202860)):
        samples[start:end] = rng.normal(0, 0.1, (end - start, 1))
    soundfile.write(tmp_path / "a.flac", samples, 44100)
    model = SpeechCLIP.from_pretrained(exported, device="cpu")
    model.fusion_weight, model.branch = weight, chosen
    rows, windows = embed_recording(model, str(tmp_path / "a.flac"))
    starts, ends = zip(*((window.start, window.end) for window in windows), strict=True)
    assert starts[0] == pytest.approx(0.8, abs=0.06) and starts[-1] >= 3.85
    assert ends[-1] == 5  # 0.4 s is too short for a pause
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(len(windows)), abs=1e-6)
    assert all(
        0 < end - start <= model.keyword_seconds for start, end in zip(starts, ends, strict=True)
    )
    mono, rate = soundfile.read(tmp_path / "a.flac")
    whole = model._read(mono, rate)
    for row, window in zip(rows, windows, strict=True):
        part = whole[round(window.start * 16000) : round(window.end * 16000)]
        np.testing.assert_allclose(row, model.encode_speech(part, branch=branch)[0], atol=1e-5)
        alone = model.keywords(part)
        assert [word.word for word in window.words] == [word.word for word in alone]
        assert window.words[0].start == pytest.approx(alone[0].start + window.start, abs=1e-3)


@pytest.mark.parametrize("quiet", [0, 0.75, 1.5])
def test_the_same_words_are_heard_by_keywords_index_search_and_page(
    quiet: float, exported: Path, tmp_path: Path
) -> None:
    """Twice half a second of red noise, with silence around and a second between them."""
    rng, silence = np.random.default_rng(0), np.zeros(round(quiet * 16000))
    noises = [np.cumsum(rng.normal(0, 0.01, 8000)) for _ in range(2)]
    first, second = (noise - noise.mean() for noise in noises)
    samples = np.concatenate([silence, first, np.zeros(16000), second, silence]).astype(np.float32)
    path = str(tmp_path / "a.wav")
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    model = SpeechCLIP.from_pretrained(exported, device="cpu")
    _, windows = embed_recording(model, path)
    heard = model.keywords(path)
    assert heard == [word for window in windows for word in window.words] and len(windows) > 1
    assert embed_query(model, [path], [], []).words() == [word.word for word in heard]
    assert Backend(model, fingerprint="").hear(samples).keywords == heard
    assert all(quiet - 0.3 < word.start < word.end < quiet + 2.3 for word in heard)
    assert not any(quiet + 0.7 < (word.start + word.end) / 2 < quiet + 1.3 for word in heard)


def test_the_page_hears_a_short_question_once(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.cumsum(np.random.default_rng(0).normal(0, 0.01, 8000)).astype(np.float32)
    samples = np.concatenate([np.zeros(16000, np.float32), noise - noise.mean()])
    model = SpeechCLIP.from_pretrained(exported, device="cpu")
    expected, encode, passes = model.keywords(samples), SpeechCLIP._encode, []
    monkeypatch.setattr(
        SpeechCLIP, "_encode", lambda self, batch: passes.append(1) or encode(self, batch)
    )
    assert Backend(model, fingerprint="").hear(samples).keywords == expected != []
    assert len(passes) == 1


def test_what_is_wrong_with_a_recording_is_said_with_its_name(
    exported: Path, tmp_path: Path
) -> None:
    model = SpeechCLIP.from_pretrained(exported, device="cpu")
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    with pytest.raises(DataError, match=r"^/.*a\.wav: no speech in it, only silence"):
        embed_recording(model, str(tmp_path / "a.wav"))
    (tmp_path / "b.wav").write_bytes(b"no sound")
    with pytest.raises(DataError, match=r"^/.*b\.wav: cannot be read"):
        embed_recording(model, str(tmp_path / "b.wav"))


def test_warnings_about_a_recording_name_its_file(exported: Path, tmp_path: Path, caplog) -> None:
    model = SpeechCLIP.from_pretrained(exported, device="cpu", max_seconds=0.5)
    path, samples = str(tmp_path / "long.wav"), np.zeros(48000)
    samples[16000:32000] = np.random.default_rng(0).normal(0, 0.1, 16000)
    soundfile.write(path, samples, 16000)
    embed_recording(model, path)
    warned = [message for message in caplog.messages if "only the first" in message]
    assert warned and all(message.startswith(f"{path}: ") for message in warned)


def test_noise_and_too_short_recordings_are_no_entries(exported: Path, tmp_path: Path) -> None:
    model, rng = SpeechCLIP.from_pretrained(exported, device="cpu"), np.random.default_rng(0)
    soundfile.write(tmp_path / "white.wav", 0.1 * rng.normal(size=48000), 16000)
    soundfile.write(tmp_path / "short.wav", 0.1 * rng.normal(size=320), 16000)
    with pytest.raises(DataError, match=r"white\.wav: no speech in it, only noise"):
        embed_recording(model, str(tmp_path / "white.wav"))
    with pytest.raises(DataError, match=r"short\.wav: less than 0\.2 s of speech"):
        embed_recording(model, str(tmp_path / "short.wav"))
    assert model.keywords(tmp_path / "white.wav") == model.keywords(tmp_path / "short.wav") == []


def test_encoders_are_kept_until_the_model_changes() -> None:
    """A worker of Dask can outlive a training that writes the same folder again."""
    first = load_encoders(IndexedModel("exp", "a" * 64), device="cpu")
    assert load_encoders(IndexedModel("exp", "a" * 64), device="cpu") is first
    assert load_encoders(IndexedModel("exp", "b" * 64), device="cpu") is not first
