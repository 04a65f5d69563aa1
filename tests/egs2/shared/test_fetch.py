from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from local.shared import fetch as fetching
from local.shared.fetch import DownloadError, Resource, fetch

CONTENT = bytes(range(256)) * 40


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT; /drop ends after 3,000 bytes each time, /whole knows no ranges."""

    requests: list[tuple[str, str | None]] = []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.requests.append((self.path, wanted))
        if self.path == "/gone":
            self.send_error(404)
            return
        if self.path == "/other":
            return self.give(b"a page that says sorry", 200)
        start = 0
        if wanted and self.path != "/whole":
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(CONTENT):
                self.send_error(416)
                return
        self.give(CONTENT[start:], 206 if start else 200)

    def give(self, body: bytes, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:3000] if self.path == "/drop" else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server():
    Handler.requests = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching.time, "sleep", lambda seconds: None)


def resource(*urls: str, **options) -> Resource:
    checksum = "md5:" + hashlib.md5(CONTENT).hexdigest()
    return Resource("x.bin", urls, **{"size": len(CONTENT), "checksum": checksum} | options)


def test_a_dropped_connection_goes_on_where_it_was(server, tmp_path) -> None:
    path = fetch(resource(f"{server}/drop"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert [r for _, r in Handler.requests] == [None, "bytes=3000-", "bytes=6000-", "bytes=9000-"]
    count = len(Handler.requests)
    fetch(resource(f"{server}/drop"), tmp_path)  # there already
    assert len(Handler.requests) == count
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]


def test_a_stopped_run_is_taken_up(server, tmp_path) -> None:
    (tmp_path / "x.bin.part").write_bytes(CONTENT[:5000])
    assert fetch(resource(f"{server}/file"), tmp_path).read_bytes() == CONTENT
    assert Handler.requests == [("/file", "bytes=5000-")]


def test_a_server_without_ranges_starts_again(server, tmp_path) -> None:
    (tmp_path / "x.bin.part").write_bytes(CONTENT[:5000])
    assert fetch(resource(f"{server}/whole"), tmp_path).read_bytes() == CONTENT


def test_a_complete_part_of_unknown_size(server, tmp_path) -> None:
    (tmp_path / "x.bin.part").write_bytes(CONTENT)
    assert fetch(resource(f"{server}/file", size=None), tmp_path).read_bytes() == CONTENT


def test_a_connection_that_fails_after_the_last_byte(server, tmp_path, monkeypatch) -> None:
    append = fetching._append

    def fail_at_the_end(*args) -> None:
        append(*args)
        raise TimeoutError("timed out")

    monkeypatch.setattr(fetching, "_append", fail_at_the_end)
    assert fetch(resource(f"{server}/file"), tmp_path).read_bytes() == CONTENT
    assert [r for _, r in Handler.requests] == [None, f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("first", ["/gone", "/other"])
def test_mirrors_are_tried_in_turn(server, tmp_path, first: str) -> None:
    path = fetch(resource(f"{server}{first}", f"{server}/file"), tmp_path)
    assert path.read_bytes() == CONTENT


def test_a_damaged_file_is_fetched_again(server, tmp_path) -> None:
    (tmp_path / "x.bin").write_bytes(CONTENT[:-1] + b"x")
    assert fetch(resource(f"{server}/file"), tmp_path).read_bytes() == CONTENT


def test_what_failed_and_what_to_do_is_said(server, tmp_path) -> None:
    wrong = resource(
        f"{server}/gone", f"{server}/file", checksum="md5:0", by_hand="Fill in a form."
    )
    with pytest.raises(DownloadError) as caught:
        fetch(wrong, tmp_path)
    message = str(caught.value)
    assert "/gone: HTTP 404" in message
    assert "instead of 0" in message
    assert "Fill in a form." in message
    assert list(tmp_path.iterdir()) == []  # nothing wrong is left for the next run


def test_no_network(tmp_path) -> None:
    with pytest.raises(DownloadError, match="Connection refused"):
        fetch(resource("http://127.0.0.1:9/x"), tmp_path)
