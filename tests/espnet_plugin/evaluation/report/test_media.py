from __future__ import annotations

import base64
import io

import numpy as np
import pytest

from espnet_plugin.evaluation.report.media import (
    MAX_SVG_BYTES,
    encode_image,
    encode_recording,
    figure_uri,
    media_uri,
    remove_unused,
    write_media,
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


def test_media_are_written_once_and_what_is_unused_goes(tmp_path, caplog):
    images = [str(tmp_path / f"{name}.png") for name in "ab"]
    for path in images:
        image_module.new("RGB", (8, 8)).save(path)
    (tmp_path / "broken").write_bytes(b"no image")
    folder = tmp_path / "media"
    (folder).mkdir()
    (folder / "notes.txt").write_text("somebody else's")
    calls = []

    def encode(path: str) -> tuple[str, bytes]:
        calls.append(path)
        return encode_image(path)

    for _ in range(2):
        names = write_media([*images, images[0], str(tmp_path / "broken")], folder, encode)
        assert list(names) == images
    assert calls == [*images, str(tmp_path / "broken"), str(tmp_path / "broken")]
    assert caplog.text.count("1 files cannot be read for the report") == 2
    remove_unused(folder, [names[images[1]]])
    assert {file.name for file in folder.iterdir()} == {names[images[1]], "notes.txt"}


def test_figures_are_svg_unless_large(tmp_path):
    (tmp_path / "f.png").write_bytes(b"png")
    assert content(figure_uri(tmp_path / "f.png"), "image/png") == b"png"
    (tmp_path / "f.svg").write_text("<svg/>")
    assert content(figure_uri(tmp_path / "f.png"), "image/svg+xml") == b"<svg/>"
    (tmp_path / "f.svg").write_text('<svg><path style="fill: #0072b2"/></svg>')
    drawing = content(figure_uri(tmp_path / "f.png"), "image/svg+xml").decode()
    assert '[style*="fill: #0072b2"]{fill:#4BA3E3!important}' in drawing
    assert drawing.endswith("</style></svg>")
    (tmp_path / "f.svg").write_text(" " * (MAX_SVG_BYTES + 1))
    assert content(figure_uri(tmp_path / "f.png"), "image/png") == b"png"
