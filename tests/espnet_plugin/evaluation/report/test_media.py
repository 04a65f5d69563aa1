from __future__ import annotations

import base64
import io

import numpy as np
import pytest

from espnet_plugin.evaluation.report.media import (
    encode_image,
    encode_recording,
    media_uri,
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
        io.BytesIO(content(media_uri(str(tmp_path / "a.wav"), encode_recording), f"audio/{kind}"))
    )
    assert rate == 16000 and abs(len(samples) - 8000) < 3000
    assert samples.ndim == 1 and 0.2 < np.abs(samples).max() < 0.4


def test_what_cannot_be_read_is_left_out(tmp_path, caplog):
    (tmp_path / "broken").write_bytes(b"no recording")
    assert media_uri(str(tmp_path / "broken"), encode_recording) is None
    assert media_uri(str(tmp_path / "broken"), encode_image) is None
    assert media_uri("sph2pipe a.sph |", encode_recording) is None
    assert caplog.text.count("cannot be read for the report") == 3


def test_images_become_thumbnails(tmp_path):
    image_module.new("RGB", (640, 320), (10, 200, 30)).save(tmp_path / "large.png")
    image_module.new("L", (32, 24)).save(tmp_path / "small.png")
    for name, kind, size in (
        ("large.png", "image/jpeg", (176, 176)),
        ("small.png", "image/png", (32, 24)),
    ):
        uri = media_uri(str(tmp_path / name), encode_image)
        assert image_module.open(io.BytesIO(content(uri, kind))).size == size
