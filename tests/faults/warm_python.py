"""A Python that has PyTorch and ESPnet loaded already, and is forked for every command.

Most of what a kill costs is the next start: 15 s of imports. The recipe is given a program as its
``--python`` that hands ``-m espnet...`` to a waiting process here, which forks; anything else goes
to Python itself. The commands run in processes of their own, as ever, and are killed as such.
"""

from __future__ import annotations

import array
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
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]
_PRELOADED = (
    "espnet2.bin.launch",
    "transformers.models.hubert.modeling_hubert",
    "matplotlib.pyplot",
)

_CLIENT = r"""#!{python} -IS
import array, json, os, socket, sys
arguments = sys.argv[1:]
if arguments[:1] != ["-m"] or not arguments[1].startswith("espnet"):
    os.execv({python!r}, [{python!r}, *arguments])
request = dict(arguments=arguments[1:], folder=os.getcwd(), environment=dict(os.environ))
request = json.dumps(dict(request, session=os.getsid(0))).encode()
server = socket.socket(socket.AF_UNIX)
server.connect({socket!r})
descriptors = array.array("i", [0, 1, 2])
header = len(request).to_bytes(8, "big")
server.sendmsg([header], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
server.sendall(request)
sys.exit(int(server.recv(16) or b"137"))
"""


@contextlib.contextmanager
def warm_python(folder: Path) -> Iterator[Path]:
    """Yields the program to be used as Python. In ``folder``, sessions/<pid> says for each command
    whose session it belongs to."""
    (folder / "sessions").mkdir(parents=True)
    client = folder / "python"
    client.write_text(_CLIENT.format(python=sys.executable, socket=str(folder / "socket")))
    client.chmod(0o755)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "LC_ALL": "C",
        "PYTHONUTF8": "1",
    }
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "tests.faults.warm_python", str(folder)]
        server = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        while not (folder / "socket").exists():
            if server.poll() is not None:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.1)
        yield client
    finally:
        server.kill()
        server.wait()


def _preload() -> None:
    import espnet_plugin

    found = pkgutil.walk_packages(espnet_plugin.__path__, "espnet_plugin.")
    for name in [*_PRELOADED, *(module.name for module in found)]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    descriptors = array.array("i")
    header, ancillary, *_ = connection.recvmsg(8, socket.CMSG_SPACE(3 * descriptors.itemsize))
    for _, _, data in ancillary:
        descriptors.frombytes(data)
    if len(header) != 8 or len(descriptors) != 3:
        raise ConnectionError
    length = int.from_bytes(header, "big")
    content = b""
    while len(content) < length:
        block = connection.recv(length - len(content))
        if not block:
            raise ConnectionError
        content += block
    return json.loads(content), list(descriptors)


def _become(request: dict[str, Any], connection: socket.socket, folder: Path) -> NoReturn:
    os.setsid()
    (folder / "sessions" / str(os.getpid())).write_text(str(request["session"]))
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        if not connection.recv(1, socket.MSG_PEEK):
            os._exit(0)  # whoever asked was killed meanwhile
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    module, *arguments = request["arguments"]
    sys.argv = [module, *arguments]
    sys.path[0] = request["folder"]
    sys.modules.pop(module, None)
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


def _serve(folder: Path) -> None:
    """Forks for each request, as long as the process that started this is there."""
    parent = os.getppid()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen(64)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    running: dict[int, socket.socket] = {}
    while os.getppid() == parent:
        if selector.select(timeout=0.02):
            connection, _ = listener.accept()
            try:
                request, descriptors = _receive(connection)
            except (ConnectionError, ValueError):
                connection.close()
                continue
            process = os.fork()
            if process == 0:
                for target, descriptor in enumerate(descriptors):
                    os.dup2(descriptor, target)
                    os.close(descriptor)
                listener.close()
                _become(request, connection, folder)
            for descriptor in descriptors:
                os.close(descriptor)
            running[process] = connection
        for process in list(running):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                (folder / "sessions" / str(process)).unlink(missing_ok=True)
                with contextlib.suppress(OSError), running.pop(process) as connection:
                    code = os.waitstatus_to_exitcode(status)
                    connection.sendall(str(code if code >= 0 else 128 - code).encode())


if __name__ == "__main__":
    _preload()
    gc.freeze()
    _serve(Path(sys.argv[1]))
