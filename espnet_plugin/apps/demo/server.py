"""Serves the demo page on this computer."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_plugin.apps.demo.backend import Backend
from espnet_plugin.apps.demo.media import Recordings
from espnet_plugin.apps.demo.uploads import Limits, OnlyUploads
from espnet_plugin.evaluation.figures.timeline import TIMELINE_CSS
from espnet_plugin.utils.scratch import scratch_folder

if TYPE_CHECKING:
    import gradio as gr

LOCAL = ("127.0.0.1", "localhost")
FONTS = ["system-ui", "sans-serif"]  # the browser's own: others come from elsewhere
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")  # without one, a browser in the terminal would open
SESSIONS = 200  # browser windows whose last answer is remembered


def check_address(host: str, port: int) -> None:
    """Looks whether the demo page can listen at an address, before a model is loaded for it.

    Raises:
        OSError: If the address is none of this machine's, or its port is wrong or taken.
    """
    try:
        family = socket.getaddrinfo(host, None)[0][0]
        socket.create_server((host, port), family=family).close()
    except (OSError, OverflowError) as error:
        raise OSError(
            f"--host {host} --port {port} cannot be used ({error}); give another one"
        ) from error


def serve(backend: Backend, *, limits: Limits, host: str, port: int) -> None:
    """Serves until it is interrupted; opens a browser where there is a display.

    Args:
        backend: Backend that answers the questions.
        limits: Limits of what visitors send.
        host: Address to listen at.
        port: Port to listen at; 0 takes the first free one from 7860 on.

    Raises:
        OSError: If the address cannot be used.
        ImportError: If gradio is not installed.
    """
    if host not in LOCAL:
        logging.warning(
            f"{host}: anyone who reaches this machine can use the demo page; it has no login"
        )
    with scratch_folder() as folder:
        page = launch(backend, limits=limits, folder=folder, host=host, port=port)
        logging.info(f"open {page.local_url} in a browser; Ctrl-C ends it")
        if any(map(os.environ.get, DISPLAYS)) or sys.platform in ("darwin", "win32"):
            webbrowser.open(page.local_url)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # the folder goes in any case
        page.block_thread()


def launch(
    backend: Backend, *, limits: Limits, folder: Path, host: str = LOCAL[0], port: int = 0
) -> gr.Blocks:
    """Starts the demo page in the background.

    Gradio holds uploads to their limit and serves nothing else but our routes. OnlyUploads refuses
    other files in a question. TrustedHostMiddleware refuses sites whose DNS leads here.

    Args:
        backend: Backend that answers the questions.
        limits: Limits of what visitors send.
        folder: Folder for uploads.
        host: Address to listen at.
        port: Port to listen at; 0 takes the first free one from 7860 on.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_RUN_HISTORY"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    try:
        import gradio as gr

        from espnet_plugin.apps.demo.page import Questions, build_page
    except ImportError as error:
        raise ImportError(
            f"the demo page needs gradio ({error}): pip install gradio (extra: demo)"
        ) from error
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    recordings = Recordings()
    page = build_page(Questions(backend, recordings, limits))
    hosts = list(LOCAL) if host in LOCAL else ["*"]
    own = Path(__file__)
    page.launch(
        server_name=host,
        server_port=port or None,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        max_file_size=limits.size,
        state_session_capacity=SESSIONS,
        footer_links=[],
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=gr.themes.Default(
            primary_hue="blue", font=FONTS, font_mono=["ui-monospace", "monospace"]
        ),
        css_paths=[TIMELINE_CSS, own.with_name("page.css")],
        head=f"<script>{own.with_name('microphone.js').read_text('utf-8')}</script>",
        app_kwargs={
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
            "routes": [recordings.route()],
            "middleware": [
                Middleware(TrustedHostMiddleware, allowed_hosts=hosts),
                Middleware(OnlyUploads, folder=folder, size=limits.size),
            ],
        },
    )
    return page
