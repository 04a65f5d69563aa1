"""Serves the page on this computer."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_plugin.data.scp import DataError
from espnet_plugin.demo.backend import Backend
from espnet_plugin.demo.guard import Guard
from espnet_plugin.demo.media import Media
from espnet_plugin.demo.uploads import Uploads, VisitorError

if TYPE_CHECKING:
    from fastapi import FastAPI

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ENVELOPE = 65_536  # bytes around the file in an upload
CONNECTIONS = 256  # at a time; a visitor has up to seven
SESSIONS = 200  # visitors whose last answer is remembered
FONTS = ["system-ui", "sans-serif"]  # the visitor's own: others come from elsewhere


def build_app(backend: Backend, uploads: Uploads, *, hosts: frozenset[str] | None) -> Guard:
    """The page with everything that it fetches.

    Args:
        backend: Answers.
        uploads: Keeps what is sent.
        hosts: Names that the page may be reached by; None: any.

    Raises:
        ImportError: When gradio is not installed; with the command.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(uploads.directory)
    try:
        import gradio as gr

        from espnet_plugin.demo.page import Questions, build_page
    except ImportError as error:
        raise ImportError(
            f"the page needs gradio ({error}): pip install gradio faiss-cpu (extra: demo)"
        ) from error
    from fastapi import FastAPI

    media = Media(backend.captions)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_files(app, uploads, media)
    page = build_page(Questions(backend, uploads, media))
    page.state_session_capacity = SESSIONS
    app = gr.mount_gradio_app(
        app,
        page,
        path="/",
        max_file_size=uploads.limits.size,
        show_error=False,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=gr.themes.Default(
            primary_hue="blue", font=FONTS, font_mono=["ui-monospace", "monospace"]
        ),
        css_paths=Path(__file__).with_name("page.css"),
        head=f"<script>{Path(__file__).with_name('microphone.js').read_text('utf-8')}</script>",
    )
    return Guard(
        app,
        uploads=uploads.directory,
        upload_size=uploads.limits.size + ENVELOPE,
        hosts=hosts,
    )


def _add_files(app: FastAPI, uploads: Uploads, media: Media) -> None:
    """Routes for uploads, instead of gradio's that tell where they lie, pictures, recordings."""
    from starlette.requests import Request
    from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response

    keep = {"cache-control": "private, max-age=3600"}
    absent = PlainTextResponse("There is no such file.", status_code=404)

    async def upload(request: Request) -> Response:
        async with request.form(max_files=1, max_fields=1) as form:
            file = form.get("files")
            if file is None or isinstance(file, str):
                return PlainTextResponse("Send one file.", status_code=400)
            try:
                name = uploads.add(await file.read(), name=file.filename or "")
            except VisitorError as error:
                return PlainTextResponse(str(error), status_code=413)
        return JSONResponse([name])

    async def progress(request: Request) -> Response:
        return PlainTextResponse('data: {"msg": "done"}\n\n', media_type="text/event-stream")

    def uploaded(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            # played and shown all the same, but what a visitor calls .html is no page of ours
            return FileResponse(
                uploads.path(name), filename=name, content_disposition_type="attachment"
            )
        except VisitorError:
            return absent

    def picture(request: Request) -> Response:
        try:
            content = media.picture(request.path_params["key"], request.path_params["size"])
        except (KeyError, DataError):
            return absent
        return Response(content, media_type="image/jpeg", headers=keep)

    def recording(request: Request) -> Response:
        try:
            content = media.recording(request.path_params["position"])
        except (KeyError, DataError):
            return absent
        return Response(content, media_type="audio/wav", headers=keep)

    app.add_route("/gradio_api/upload", upload, methods=["POST"])
    app.add_route("/gradio_api/upload_progress", progress)
    app.add_route("/gradio_api/file={name}", uploaded)
    app.add_route("/pictures/{key}/{size}", picture)
    app.add_route("/recordings/{position:int}", recording)


def serve(backend: Backend, uploads: Uploads, *, host: str, port: int) -> None:
    """Serves until it is interrupted.

    Args:
        backend: Answers.
        uploads: Keeps what is sent.
        host: Address to listen at.
        port: Its port; 0: any that is free.

    Raises:
        OSError: When the address is taken or is none of this machine.
        ImportError: When gradio is not installed.
    """
    listening = _listen(host, port)
    hosts = frozenset({"127.0.0.1", "localhost", "[::1]"}) if host in LOOPBACK else None
    if hosts is None:
        logging.warning(f"{host}: whoever reaches this machine can use the page; it has no login")
    with listening:
        app = build_app(backend, uploads, hosts=hosts)
        import uvicorn

        address = f"[{host}]" if ":" in host else host
        port = listening.getsockname()[1]
        logging.info(f"open http://{address}:{port}/ in a browser; Ctrl-C ends it")
        config = uvicorn.Config(
            app,
            log_level="warning",
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=75,  # longer than a question waits, so that none meets a closed line
            timeout_graceful_shutdown=2,
        )
        # uvicorn raises the signal again when it has ended; the folder must go all the same
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        reason = "is taken; give another --port" if taken else f"cannot be used ({error.strerror})"
        raise OSError(f"--host {host} --port {port} {reason}") from error
    return listening
