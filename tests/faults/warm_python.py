"""A Python that has PyTorch and ESPnet loaded already, and is forked for every command.

Most of what a kill costs is the next start: 15 s of imports. The recipe is given a program as its
``--python`` that hands ``-m espnet...`` and ``-m local...`` to a waiting process here, which forks;
anything else goes to Python itself. The commands run in processes of their own, as ever.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from tests.faults.writes import watch

ROOT = Path(__file__).parents[2]
_PRELOADED = (
    "espnet2.bin.launch",
    "transformers.models.hubert.modeling_hubert",
    "matplotlib.pyplot",
)
_REQUEST_BYTES = 1 << 20

_CLIENT = r"""#!{python} -IS
import json, os, socket, sys
arguments = sys.argv[1:]
warm = arguments[:1] == ["-m"] and arguments[1].startswith(("espnet", "local."))
if not warm:
    os.execv({python!r}, [{python!r}, *arguments])
request = dict(arguments=arguments[1:], folder=os.getcwd(), environment=dict(os.environ))
server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server.connect({socket!r})
socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
sys.exit(int(server.recv(16) or b"137"))
"""


@contextlib.contextmanager
def warm_python(folder: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """Yields the program to be used as Python."""
    folder.mkdir()
    client, address = folder / "python", folder / "socket"
    client.write_text(_CLIENT.format(python=sys.executable, socket=str(address)))
    client.chmod(0o755)
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.warm_python", str(address)],
            cwd=ROOT,
            env={**environment, "LC_ALL": "C", "PYTHONUTF8": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    with server:
        if not server.stdout.readline():
            raise RuntimeError((folder / "log").read_text())
        try:
            yield client
        finally:
            server.kill()


def _preload() -> None:
    import espnet_plugin

    found = pkgutil.walk_packages(espnet_plugin.__path__, "espnet_plugin.")
    for name in [*_PRELOADED, *(module.name for module in found)]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()


def _become(request: dict[str, Any], client: socket.socket, descriptors: list[int]) -> NoReturn:
    os.setsid()
    os.chdir(request["folder"])
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        if not client.recv(1, socket.MSG_PEEK):
            os._exit(0)  # the caller was killed before this could be found in its folder
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    module, *arguments = request["arguments"]
    sys.argv = [module, *arguments]
    sys.path[0] = request["folder"]
    sys.modules.pop(module, None)
    watch()
    code: Any = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    # what the interpreter does at its end, without taking all of these libraries apart
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else int(bool(code)))


def _serve(listener: socket.socket) -> None:
    """Forks for each request, as long as the process that started this is there."""
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                return
            if key.fileobj is listener:
                client, _ = listener.accept()
                request, descriptors, *_ = socket.recv_fds(client, _REQUEST_BYTES, 3)
                if not request:
                    client.close()
                    continue
                process = os.fork()
                if process == 0:
                    _become(json.loads(request), client, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                running = (process, client)
                selector.register(os.pidfd_open(process), selectors.EVENT_READ, running)
            else:
                selector.unregister(key.fileobj)
                os.close(key.fd)
                process, client = key.data
                code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
                with contextlib.suppress(OSError), client:
                    client.send(str(code if code >= 0 else 128 - code).encode())


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        _preload()
    waiting = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    waiting.bind(sys.argv[1])
    waiting.listen(64)
    print("ready", flush=True)
    _serve(waiting)
