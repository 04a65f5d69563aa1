"""What stands before every request: the page's own routes alone, bodies with a bound."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ALLOWED = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)"
    r"|/(assets|static|pictures|recordings)/[\w./-]+"
    r"|/gradio_api/(info|theme\.css|startup-events|upload(_progress)?|cancel|reset|queue/(join|data))"
    r"|/gradio_api/heartbeat/\w+|/gradio_api/file=[\w.]+"
)
UPLOAD, QUESTION = "/gradio_api/upload", "/gradio_api/queue/join"
FILE = {"_type": "gradio.FileData"}
BODY = 65_536  # bytes of a question
# the browser itself keeps the page from asking anybody else
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


REFUSED = {
    400: b"Not a question.",
    403: b"Not from here.",
    404: b"There is no such page.",
    413: b"Too large.",
}


class RefusedError(Exception):
    """A body is not taken; the status says why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Guard:
    """ASGI middleware.

    Args:
        app: What answers.
        uploads: Where what visitors sent lies.
        upload_size: Bytes that an upload may have, its envelope included.
        hosts: Names that the page is reached by; another name is another site's page that was led
            here by its DNS. None: any.
    """

    def __init__(
        self, app: Any, *, uploads: Path, upload_size: int, hosts: frozenset[str] | None
    ) -> None:
        self.app = app
        self.uploads = uploads
        self.upload_size = upload_size
        self.hosts = hosts

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answers what is refused; hands the rest on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: dict[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                added = [(key.encode(), value.encode()) for key, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        try:
            await self.app(*await self._checked(scope, receive), send_with_headers)
        except RefusedError as error:
            if started:
                raise
            kind = [(b"content-type", b"text/plain; charset=utf-8")]
            start = {"type": "http.response.start", "status": error.status, "headers": kind}
            await send_with_headers(start)
            await send({"type": "http.response.body", "body": REFUSED[error.status]})

    async def _checked(self, scope: dict[str, Any], receive: Any) -> tuple[dict[str, Any], Any]:
        """A request as it goes on."""
        path = scope["path"]
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        host = re.sub(r":\d+$", "", headers.get("host", "")).lower()
        if self.hosts is not None and host not in self.hosts:
            raise RefusedError(403)
        if headers.get("sec-fetch-site") == "cross-site" and path != "/":
            raise RefusedError(403)
        if not ALLOWED.fullmatch(path) or ".." in path:
            raise RefusedError(404)
        limit = self.upload_size if path == UPLOAD else BODY
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > limit:
            raise RefusedError(413)
        receive = _bounded(receive, limit)
        return (scope, receive) if path != QUESTION else await self._question(scope, receive)

    async def _question(self, scope: dict[str, Any], receive: Any) -> tuple[dict[str, Any], Any]:
        """A question in which files are uploads: gradio would fetch other paths and addresses."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        try:
            body = json.dumps(self._only_uploads(json.loads(body))).encode()
        except (ValueError, RecursionError):
            raise RefusedError(400) from None
        headers = [pair for pair in scope["headers"] if pair[0] != b"content-length"]
        scope = {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
        question = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> dict[str, Any]:
            return question.pop() if question else await receive()

        return scope, again

    def _only_uploads(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._only_uploads(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value.keys() & {"path", "url"}:
            name = re.sub(r"\W", "_", Path(str(value.get("path"))).stem)[:32]
            suffix = re.sub(r"[^\w.]", "", Path(str(value.get("path"))).suffix)[:8]
            return {"path": str(self.uploads / (name + suffix)), "meta": FILE}
        return {key: self._only_uploads(item) for key, item in value.items()}


def _bounded(receive: Any, limit: int) -> Any:
    taken = 0

    async def bounded() -> dict[str, Any]:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise RefusedError(413)
        return message

    return bounded
