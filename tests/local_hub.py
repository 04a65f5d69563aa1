"""A Hugging Face hub on the loopback interface: what uploads and downloads need of its API."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class LocalHub(ThreadingHTTPServer):
    """Public repositories of models, in memory.

    Attributes:
        repositories: Files of each repository's latest commit.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}

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
        commit = commit_id(files)
        url = f"{self.server.endpoint}/{owner}/{model}/commit/{commit}"
        return self._answer({"commitUrl": url, "commitOid": commit})

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        for pattern, answer in (
            (r"/api/models/([^/]+/[^/]+)/tree/[^/]+", self._tree),
            (r"/api/models/([^/]+/[^/]+)(?:/revision/[^/]+)?", self._information),
            (r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", self._file),
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

    def _file(self, name: str, path: str) -> None:
        files = self.server.repositories[name]
        self._send(
            files[path],
            headers={"ETag": f'"{blob_id(files[path])}"', "X-Repo-Commit": commit_id(files)},
        )

    def _answer(
        self, value: Any, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        self._send(
            json.dumps(value).encode(),
            status=status,
            headers={"Content-Type": "application/json", **(headers or {})},
        )

    def _send(self, content: bytes, *, status: int = 200, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
