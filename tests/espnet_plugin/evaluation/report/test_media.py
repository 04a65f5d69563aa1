from __future__ import annotations

import base64
import io

import numpy as np
import pytest

from espnet_plugin.evaluation.report.media import (
    MAX_SVG_BYTES,
    audio_uri,
    figure_uri,
    picture_uri,
)

soundfile = pytest.importorskip("soundfile")
image_module = pytest.importorskip("PIL.Image")


def content(uri: str, kind: str) -> bytes:
    assert uri.startswith(f"data:{kind};base64,")
    return base64.b64decode(uri.partition(",")[2])


@pytest.mark.parametrize(("kind", "formats"), [("mpeg", ["MP3", "WAV"]), ("wav", ["WAV"])])
def test_recordings_can_be_played(tmp_path, monkeypatch, kind, formats):
    if any(name not in soundfile.available_formats() for name in formats):
        pytest.skip("this libsndfile writes no MP3")
    monkeypatch.setattr(soundfile, "available_formats", lambda: dict.fromkeys(formats, ""))
    tone = np.sin(np.arange(8000) / 5)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, tone], axis=1) * 0.3, 16000)
    samples, rate = soundfile.read(
        io.BytesIO(content(audio_uri(tmp_path / "a.wav"), f"audio/{kind}"))
    )
    assert rate == 16000 and abs(len(samples) - 8000) < 3000
    assert samples.ndim == 1 and 0.2 < np.abs(samples).max() < 0.4


def test_what_cannot_be_read_is_left_out(tmp_path, caplog):
    (tmp_path / "broken").write_bytes(b"no recording")
    assert audio_uri(tmp_path / "broken") is None
    assert picture_uri(tmp_path / "broken") is None
    assert audio_uri("sph2pipe a.sph |") is None
    assert caplog.text.count("for the report") == 2


def test_pictures_become_thumbnails(tmp_path):
    image_module.new("RGB", (640, 320), (10, 200, 30)).save(tmp_path / "large.png")
    image_module.new("L", (32, 24)).save(tmp_path / "small.png")
    large = image_module.open(
        io.BytesIO(content(picture_uri(tmp_path / "large.png"), "image/jpeg"))
    )
    small = image_module.open(io.BytesIO(content(picture_uri(tmp_path / "small.png"), "image/png")))
    assert large.size == (176, 176) and small.size == (32, 24)


def test_figures_are_svg_unless_large(tmp_path):
    (tmp_path / "f.png").write_bytes(b"png")
    assert content(figure_uri(tmp_path / "f.png"), "image/png") == b"png"
    (tmp_path / "f.svg").write_text("<svg/>")
    assert content(figure_uri(tmp_path / "f.png"), "image/svg+xml") == b"<svg/>"
    (tmp_path / "f.svg").write_text(" " * (MAX_SVG_BYTES + 1))
    assert content(figure_uri(tmp_path / "f.png"), "image/png") == b"png"
