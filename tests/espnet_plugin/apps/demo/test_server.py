"""The page over HTTP: what it answers, and what it does not serve."""

from __future__ import annotations

import copy
import html
import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from PIL import Image

from espnet_plugin.apps.demo import server
from espnet_plugin.apps.demo.markup import timeline
from espnet_plugin.apps.demo.uploads import VisitorError
from espnet_plugin.bin.speechclip import main
from tests.espnet_plugin.apps.demo.conftest import SECRET, Served
from tests.sounds import murmur


@dataclass(frozen=True)
class Elsewhere:
    """Another site, and the paths that it was asked for."""

    port: int
    asked: list[str]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    """A site with a recording of 2 MB, which gradio may fetch as if it were public."""
    from gradio import processing_utils

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(bytes(2_000_000))

    asked: list[str] = []
    site = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    monkeypatch.setattr(processing_utils, "PUBLIC_HOSTNAME_WHITELIST", ["localhost"])
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield Elsewhere(site.server_port, asked)
    site.shutdown()
    site.server_close()


def join(client: httpx.Client, question: str, *data: Any) -> httpx.Response:
    """Puts a question into the queue."""
    config = client.get("/config").json()
    number = next(item["id"] for item in config["dependencies"] if item["api_name"] == question)
    body = {"data": data, "fn_index": number, "session_hash": "test"}
    return client.post("/gradio_api/queue/join", json=body)


def ask(served: Served, question: str, *data: Any) -> str:
    """All that comes back for a question, as text."""
    with httpx.Client(base_url=served.address, timeout=20) as client:
        joined = join(client, question, *data)
        assert joined.status_code == 200, joined.text
        with client.stream("GET", "/gradio_api/queue/data?session_hash=test") as stream:
            lines = []
            for line in stream.iter_lines():
                lines.append(line)
                if '"process_completed"' in line:
                    break
    return "\n".join(lines)


@dataclass(frozen=True)
class Answered:
    """What the browser is given: HTML, and the images with their captions."""

    heard: str
    label: str
    images: dict[str, str]  # caption → address
    detail: str
    recordings: str


def answer(served: Served, question: str, *data: Any) -> Answered:
    last = ask(served, question, *data).splitlines()[-1]
    data = json.loads(last.removeprefix("data: "))["output"]["data"]
    heard, gallery, detail, _, recordings, *kept = data
    assert kept == [None, None]  # paths stay on the server
    images = {each["caption"]: each["image"]["url"] for each in gallery.get("value", [])}
    return Answered(heard, gallery.get("label", ""), images, detail, recordings)


def send(served: Served, path: Path) -> dict[str, Any]:
    reply = httpx.post(f"{served.address}/gradio_api/upload", files={"files": path.open("rb")})
    return {"path": reply.json()[0], "meta": {"_type": "gradio.FileData"}}


def uploaded(served: Served) -> list[Path]:
    return sorted(path for path in served.uploads.rglob("*") if path.is_file())


def test_words_of_foreign_speech_are_called_translations(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "translations" not in served.questions.introduction()
    monkeypatch.setattr(served.questions.backend.model, "spoken_languages", ("sw",))
    assert "words are the nearest English sub-words" in served.questions.introduction()


def test_a_recording_finds_keywords_and_images(served: Served) -> None:
    found = answer(served, "drop", send(served, served.recording))
    assert "sc-timeline" in found.heard
    assert "whole utterance. Its keywords have no part in it" in found.heard
    numbers, scores = zip(*(caption.split(" · ") for caption in found.images), strict=True)
    assert numbers == tuple("12345")  # no name, which may say what is shown
    scores = [float(score) for score in scores]
    assert scores == sorted(scores, reverse=True)
    assert "--data" not in found.detail and "closest spoken captions" in found.detail


@pytest.mark.parametrize(
    ("branch", "said"), [("cascaded", "by the keywords alone"), ("both", "by fusion: by the whole")]
)
def test_a_recording_is_ranked_by_the_branch_selected_on_dev(
    branch: str, said: str, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, samples = served.questions.backend, murmur(16000)
    monkeypatch.setattr(backend.model, "branch", branch)
    asked = backend.hear(samples)
    first, last = (round(second * asked.rate) for second in (asked.start, asked.end))
    row = backend.model.encode_speech(samples[first:last], branch=branch)[0]
    best = backend.index.search(row, top=1, kind="image")[0]
    assert asked.hits[0].path == best.path
    assert asked.hits[0].score == pytest.approx(best.score, abs=1e-5)
    assert said in timeline(asked, player="x")


def test_text_and_image_as_queries(served: Served) -> None:
    found = answer(served, "write", "a <red> dog")
    assert found.label == "Images closest to “a <red> dog”"
    assert "“a &lt;red&gt; dog”" in found.recordings
    found = answer(served, "show", send(served, served.image))
    assert next(iter(found.images)).startswith("1 · 1.0")  # itself
    assert found.label == "Images closest to red.png"


def test_a_text_of_unknown_words_is_said_to_be_one(served: Served) -> None:
    """Its images are shown all the same: the text encoder may know more than the vocabulary."""
    assert "dog" in served.questions.backend.known_words()
    found = served.questions.write("969")
    assert "has none of these words" in found.heard and "dog, arena" in found.heard
    assert found.images["visible"]
    assert not served.questions.write("969, a Dog!").heard
    sample = served.questions.sample_text()
    assert sample == "red dog arena" and not served.questions.write(sample).heard


def test_an_index_of_another_model_is_not_searched(served: Served) -> None:
    questions = copy.copy(served.questions)
    questions.backend = replace(questions.backend, fingerprint="of the model before")
    with pytest.raises(VisitorError, match="indexed again with another model. Start this demo"):
        questions.write("a dog")


def test_a_chosen_image(served: Served) -> None:
    """Its captions, with their place in the set; similar images are others."""
    questions = served.questions
    red, others = str(served.image), sorted(map(str, served.image.parent.iterdir()))
    chosen = questions.choose([others[0], red], SimpleNamespace(index=1))
    assert chosen.chosen == red and chosen.similar["value"] == "Find images like red.png"
    assert chosen.detail.count("<audio") == 3
    assert chosen.detail.count("of this image") == 1
    assert "&lt;i&gt;tags&lt;/i&gt;" in chosen.detail
    similar = questions.similar(red)
    assert red not in similar.paths
    assert sorted([*similar.paths, red]) == others
    assert similar.images["label"] == "Images closest to red.png"
    for index in (2, None, "0"):
        with pytest.raises(VisitorError, match="ask again"):
            questions.choose([others[0], red], SimpleNamespace(index=index))


def test_a_browser_gets_an_images_pixels_and_nothing_else(served: Served) -> None:
    """The comment, EXIF, XMP, profile and text of JPEG, PNG and WebP stay on the server."""
    found = answer(served, "write", "a red dog")
    assert len(found.images) == 5
    for address in found.images.values():
        reply = httpx.get(address)
        assert reply.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(reply.content)) as image:
            assert image.size == (60, 40)
            assert not image.getexif()
            assert image.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert SECRET not in reply.content


def test_recordings_of_the_index_play_from_where_they_were_found(served: Served) -> None:
    answers = answer(served, "write", "a red dog").recordings
    assert "Recordings closest to “a red dog”" in answers
    assert answers.count('preload="metadata"') == answers.count("<audio")  # shows its length
    assert "&lt;i&gt;talk.wav" in answers and "<i>talk" not in answers
    window = r"0:(0\d\.\d)–0:(0\d\.\d) .*?src=\"\./(recordings/[0-9a-f]{32})\""
    found = re.findall(window, answers, re.S)
    assert len(found) >= 2
    spans = sorted((float(start), float(end)) for start, end, _ in found)
    assert spans[0][0] == pytest.approx(1.4, abs=0.15)
    assert any(start == pytest.approx(3.9, abs=0.15) for start, _ in spans)
    start, end, address = found[0]
    sound = httpx.get(f"{served.address}/{address}")
    assert sound.headers["content-type"] == "audio/wav"
    samples, rate = soundfile.read(io.BytesIO(sound.content))
    assert len(samples) / rate == pytest.approx(float(end) - float(start), abs=0.11)
    assert "2 parts of 1 recording, without" in html.unescape(
        httpx.get(f"{served.address}/config").text
    )
    again = answer(served, "write", "a red dog").recordings
    assert re.findall(r"recordings/\w+", again) == re.findall(r"recordings/\w+", answers)


def test_what_is_around_speech_is_not_heard(served: Served, tmp_path: Path) -> None:
    """A recording of 1.5 s, a second into a recording of 5 s: 0.2 s around it are kept."""
    samples, rate = soundfile.read(served.recording)
    silence = np.zeros(rate)
    padded = np.concatenate([silence, samples, silence, silence, silence[: rate // 2]])
    soundfile.write(tmp_path / "padded.wav", padded, rate)
    heard = answer(served, "drop", send(served, tmp_path / "padded.wav")).heard
    cut = re.findall(r'class="sc-cut" style="left: ([\d.]+)%?; (?:width: ([\d.]+)%)?', heard)
    assert [float(cut[0][1]), float(cut[1][0])] == pytest.approx([16, 54], abs=0.5)
    first = float(re.search(r'data-start="([\d.]+)"', heard)[1])
    assert 0.75 <= first <= 1.5
    heard = answer(served, "drop", send(served, served.recording)).heard
    assert "sc-cut" not in heard


def test_examples_are_captions_and_nothing_else(served: Served) -> None:
    from espnet_plugin.apps.demo.captions import Caption, SpokenCaptions

    captions = [Caption(f"u{number}", "" if number < 2 else "a", "x", None) for number in range(11)]
    examples = SpokenCaptions(captions, np.zeros((11, 2))).examples()
    assert examples == [captions[number] for number in (2, 5, 8)]
    assert len(SpokenCaptions(captions[:2], np.zeros((2, 2))).examples()) == 2
    page = httpx.get(f"{served.address}/config").text
    assert "a red dog" in page
    assert "dog, arena" in page  # words that the model knows


def test_bad_questions_are_answered_by_a_sentence(served: Served, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", 0.1 * np.ones(8 * 8000), 8000)
    soundfile.write(tmp_path / "silence.wav", np.zeros(8000), 8000)
    hiss = 0.1 * np.random.default_rng(0).standard_normal(16000)
    soundfile.write(tmp_path / "hiss.wav", hiss, 16000)
    (tmp_path / "text.wav").write_text("no sound")
    for data, words in (
        (send(served, tmp_path / "long.wav"), "long.wav is 8 seconds long; at most 5 seconds"),
        (send(served, tmp_path / "silence.wav"), "too little speech in this recording"),
        (send(served, tmp_path / "hiss.wav"), "too little speech in this recording"),
        (send(served, tmp_path / "text.wav"), "text.wav cannot be used as a recording"),
    ):
        found = answer(served, "drop", data)
        assert 'role="alert"' in found.heard
        assert words in found.heard
        assert not found.images and not found.recordings
    assert "Write what the image should show" in answer(served, "write", " ").heard


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file={secret}",
        "/gradio_api/file={secret}/../images/red.png",
        "/gradio_api/file=http://127.0.0.1:1/",
        "/gradio_api/file=../secret.png",
        "/gradio_api/file=%2e%2e%2fsecret.png",
        "/gradio_api/proxy=https://example.hf.space/",
        "/gradio_api/file={image}",
        "/recordings/{secret}",
        "/recordings/00000000000000000000000000000000",
        "/assets/../../../../routes.py",
        "/static/..%2f..%2f..%2froutes.py",
        "/docs",
    ],
)
def test_nothing_else_is_served(served: Served, path: str) -> None:
    import http.client

    host = served.address.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)  # which does not tidy the path
    connection.request("GET", path.format(secret=served.secret, image=served.image))
    reply = connection.getresponse()
    assert reply.status in (400, 403, 404)
    assert len(reply.read()) < 300


@pytest.mark.parametrize(
    "file",
    [
        {"path": "{secret}", "meta": {"_type": "gradio.FileData"}},
        {"path": "/dev/zero", "meta": {"_type": "gradio.FileData"}},
        {"path": "http://localhost:{port}/x.wav", "meta": {"_type": "gradio.FileData"}},
        {"path": "{uploads}/../secret.png", "meta": {"_type": "gradio.FileData"}},
        {"path": "x", "url": "data:audio/wav;base64,AAAA", "meta": {"_type": "gradio.FileData"}},
        {"path": "\0", "meta": {"_type": "gradio.FileData"}},
        {"path": ["{secret}"]},
        [{"deep": {"path": "{secret}"}}],
    ],
)
@pytest.mark.parametrize("question", ["show", "write"])  # gradio looks for files in texts, too
def test_only_uploads_are_read(
    served: Served, elsewhere: Elsewhere, question: str, file: Any
) -> None:
    """Not files of the machine, nor addresses, which gradio fetches whatever their size."""
    values = {"{secret}": served.secret, "{port}": elsewhere.port, "{uploads}": served.uploads}
    text = json.dumps(file)
    for name, value in values.items():
        text = text.replace(name, str(value))
    before = uploaded(served)
    with httpx.Client(base_url=served.address, timeout=20) as client:
        assert join(client, question, json.loads(text)).status_code == 400
    assert not elsewhere.asked and uploaded(served) == before


def test_a_question_is_no_larger_than_an_upload_may_be(served: Served) -> None:
    with httpx.Client(base_url=served.address, timeout=20) as client:
        assert join(client, "write", "x" * 2**20).status_code == 413
        refused = client.post("/gradio_api/queue/join", content=b"no JSON")
        assert refused.status_code == 400


def test_the_page_asks_nobody_else(served: Served) -> None:
    page = httpx.get(served.address).text
    assert "googleapis" not in page and 'src="http' not in page


@pytest.mark.parametrize("display", [None, "DISPLAY", "WAYLAND_DISPLAY"])
def test_a_browser_is_opened_where_there_is_a_display(
    display: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened: list[str] = []
    page = SimpleNamespace(local_url="http://127.0.0.1:7860/", block_thread=lambda: None)
    monkeypatch.setattr(server, "launch", lambda *_, **__: page)
    monkeypatch.setattr(server.webbrowser, "open", opened.append)
    monkeypatch.setattr(server.signal, "signal", lambda *_: None)
    monkeypatch.setattr(server.sys, "platform", "linux")
    for name in server.DISPLAYS:
        monkeypatch.delenv(name, raising=False)
    if display:
        monkeypatch.setenv(display, ":0")
    with caplog.at_level("INFO"):
        server.serve(None, limits=None, host="127.0.0.1", port=0)
    assert opened == ([page.local_url] if display else [])
    assert page.local_url in caplog.text


def test_size_and_hosts_are_checked(served: Served, tmp_path: Path) -> None:
    (tmp_path / "large.wav").write_bytes(b"x" * 2_000_000)
    with (tmp_path / "large.wav").open("rb") as stream:
        upload = httpx.post(f"{served.address}/gradio_api/upload", files={"files": stream})
    assert upload.status_code == 413
    assert (
        httpx.get(f"{served.address}/config", headers={"host": "evil.example"}).status_code == 400
    )


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("127.0.0.1", None, "Address already in use"),
        ("127.0.0.1", 65536, "port must be 0-65535"),
        ("127.0.0.1", -1, "port must be 0-65535"),
        ("nowhere.invalid", 0, ""),
    ],
)
def test_a_wrong_address_is_said_before_a_model_is_looked_for(
    host: str, port: int | None, reason: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1] if port is None else port
        with pytest.raises(SystemExit, match=f"--host {host} --port {port} cannot.*{reason}"):
            main(["demo", "--model", "missing/model.zip", f"--host={host}", f"--port={port}"])
