"""A Hugging Face hub on the loopback interface: what uploads and downloads need of its API."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

PROXIES = ("http_proxy", "https_proxy", "all_proxy")
LARGE_FILES = (".ckpt",)  # whose etag is their SHA-256, as git-lfs has it


@dataclass(frozen=True)
class Download:
    """A request for a file's content: its path, the commit or branch, and where it began."""

    path: str
    revision: str
    start: int


class LocalHub(ThreadingHTTPServer):
    """Public repositories of models, in memory.

    Attributes:
        repositories: Files of each repository's latest commit.
        downloads: Of files, in the order in which they were asked for.
        cut_after: Bytes after which the connection is closed, one for each of the next downloads.
        announced: Paths of files whose description is that of other content -> that content.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.downloads: list[Download] = []
        self.cut_after: list[int] = []
        self.announced: dict[str, bytes] = {}

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT must say."""
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def local_hub() -> Iterator[LocalHub]:
    """A hub that serves while the block runs."""
    with LocalHub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


@contextlib.contextmanager
def only_hub(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[LocalHub]:
    """The hub that huggingface_hub talks to while the block runs, and a cache of its own."""
    import huggingface_hub
    from huggingface_hub import constants

    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    getattr(huggingface_hub, "close_session", lambda: None)()  # it may know a proxy
    with local_hub() as hub:
        template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub


def put_in_cache(model: Path, name: str, cache: Path) -> Path:
    """Lays a model out as the library's cache has a repository ``owner/model``, offline; returns
    where."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / "abc"
    shutil.copytree(model, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    return snapshot


def blob_id(content: bytes) -> str:
    """Git's name of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def commit_id(files: dict[str, bytes]) -> str:
    """Forty digits that change with any file."""
    listed = "".join(f"{name} {blob_id(files[name])}\n" for name in sorted(files))
    return hashlib.sha1(listed.encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LocalHub

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        if path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if not self.headers.get("Authorization"):
            return self._answer({"error": "Invalid username or password."}, status=401)
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            self.server.repositories.setdefault(name, {})
            return self._answer({"url": f"{self.server.endpoint}/{name}", "id": name})
        owner, model, action = path.removeprefix("/api/models/").split("/")[:3]
        files = self.server.repositories[f"{owner}/{model}"]
        if action == "preupload":
            paths = [file["path"] for file in json.loads(body)["files"]]
            answers = [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]
            return self._answer({"files": answers})
        for line in body.splitlines():
            operation = json.loads(line)
            if operation["key"] == "file":
                value = operation["value"]
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "deletedFile":
                del files[operation["value"]["path"]]
        commit = commit_id(files)
        url = f"{self.server.endpoint}/{owner}/{model}/commit/{commit}"
        return self._answer({"commitUrl": url, "commitOid": commit})

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        for pattern, answer in (
            (r"/api/models/([^/]+/[^/]+)/tree/[^/]+", self._tree),
            (r"/api/models/([^/]+/[^/]+)(?:/revision/[^/]+)?", self._information),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._file),
        ):
            found = re.fullmatch(pattern, path)
            if found and found[1] in self.server.repositories:
                return answer(*found.groups())
        return self._answer(
            {"error": "Repository not found"}, status=404, headers={"X-Error-Code": "RepoNotFound"}
        )

    do_HEAD = do_GET

    def _tree(self, name: str) -> None:
        files = self.server.repositories[name]
        self._answer(
            [
                {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}
                for path, content in files.items()
            ]
        )

    def _information(self, name: str) -> None:
        files = self.server.repositories[name]
        siblings = [{"rfilename": path} for path in files]
        self._answer({"id": name, "sha": commit_id(files), "siblings": siblings})

    def _file(self, name: str, revision: str, path: str) -> None:
        files = self.server.repositories[name]
        commit = commit_id(files)
        if revision not in ("main", commit) or path not in files:
            error = "EntryNotFound" if revision in ("main", commit) else "RevisionNotFound"
            return self._answer({"error": error}, status=404, headers={"X-Error-Code": error})
        content = files[path]
        described = self.server.announced.get(path, content)
        headers = {"ETag": f'"{blob_id(described)}"', "X-Repo-Commit": commit}
        if path.endswith(LARGE_FILES):
            headers["X-Linked-Etag"] = f'"{hashlib.sha256(described).hexdigest()}"'
            headers["X-Linked-Size"] = str(len(described))
        if self.command == "HEAD":
            return self._send(content, headers=headers)
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.server.downloads.append(Download(path, revision, start))
        cut = self.server.cut_after.pop(0) if self.server.cut_after else None
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(content[start:], status=206 if start else 200, headers=headers, cut_after=cut)

    def _answer(
        self, value: Any, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        self._send(
            json.dumps(value).encode(),
            status=status,
            headers={"Content-Type": "application/json", **(headers or {})},
        )

    def _send(
        self,
        content: bytes,
        *,
        status: int = 200,
        headers: dict[str, str],
        cut_after: int | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:cut_after])
        self.close_connection = self.close_connection or cut_after is not None
