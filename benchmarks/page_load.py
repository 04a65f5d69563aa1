"""The page with twenty visitors at once, for a minute.

Each loads the page, sends a recording, looks at the pictures that are found, and asks for one in
writing, again and again.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.measure import MIB, MissingInputError, Row, Settings, Spread

if TYPE_CHECKING:
    import httpx

LONG_SECONDS = 90
INDEX = Path(__file__).parents[1] / "egs2/speechclip_plus/exp/mini_pictures.index"
TEXTS = ("a red dog", "something blue at night", "two animals on the beach")


@dataclass
class Visits:
    """What all visitors saw.

    Attributes:
        seconds: Of each answer, by question.
        errors: What went wrong, and how often.
        memory: Resident memory of the server, bytes, once a second.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    memory: list[int] = field(default_factory=list)


def ask(client: httpx.Client, number: int, data: list[Any], session: str) -> str:
    """An answer of the page as HTML."""
    body = {"data": data, "fn_index": number, "session_hash": session}
    client.post("/gradio_api/queue/join", json=body).raise_for_status()
    with client.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
        for line in stream.iter_lines():
            if '"process_completed"' in line:
                message = json.loads(line.removeprefix("data: "))
                if not message["success"]:
                    raise RuntimeError("not answered")
                return "".join(map(str, message["output"]["data"]))
    raise RuntimeError("the answer broke off")


def visit(address: str, clips: list[Path], visitor: int, end: float, visits: Visits) -> None:
    """One visitor, until the time is over."""
    import httpx

    rng = np.random.default_rng(visitor)
    turn = 0
    while time.monotonic() < end:
        turn += 1
        session = f"{visitor}v{turn}"
        try:
            with httpx.Client(base_url=address, timeout=60) as client:
                client.get("/").raise_for_status()
                config = client.get("/config").json()["dependencies"]
                questions = {item["api_name"]: item["id"] for item in config}
                clip = clips[rng.integers(len(clips))]
                begin = time.monotonic()
                with clip.open("rb") as stream:
                    sent = client.post("/gradio_api/upload", files={"files": stream})
                file = {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}
                found = ask(client, questions["drop"], [file], session)
                visits.seconds.setdefault("speak", []).append(time.monotonic() - begin)
                keys = re.findall(r"pictures/(\w+)/small", found)
                if not keys:
                    raise RuntimeError(re.sub("<[^>]+>", "", found)[:100])
                for key in keys:
                    client.get(f"/pictures/{key}/small").raise_for_status()
                begin = time.monotonic()
                ask(client, questions["write"], [str(rng.choice(TEXTS))], session)
                visits.seconds.setdefault("write", []).append(time.monotonic() - begin)
        except (httpx.HTTPError, RuntimeError, ValueError, KeyError) as error:
            visits.errors[f"{type(error).__name__}: {error}"] += 1


def resident(process: int) -> int:
    """Resident memory of a process in bytes."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def start(index: Path, log: Path) -> tuple[subprocess.Popen, str]:
    """The page as a process of its own, and its address."""
    command = [sys.executable, "-m", "espnet_plugin.bin.speechclip", "demo", "--port", "0"]
    with log.open("w") as stream:
        process = subprocess.Popen([*command, "--index", index], stderr=stream)
    while process.poll() is None:
        found = re.search(r"open (http\S+)/ ", log.read_text())
        if found:
            return process, found[1]
        time.sleep(0.2)
    raise SystemExit(log.read_text())


def long_rows(settings: Settings) -> Iterator[Row]:
    """Serves the mini corpus's index, visits, measures."""
    if settings.mini is None or not INDEX.is_dir():
        raise MissingInputError(
            "make demo and make page make the model and the index that it needs"
        )
    seconds, clients = (2, 2) if settings.quick else (60, 20)
    log = settings.work_dir / "page.log"
    process, address = start(INDEX, log)
    visits = Visits()
    clips = sorted((settings.mini / "wavs").glob("test_*.wav"))
    try:
        before = resident(process.pid)
        end = time.monotonic() + seconds

        def watch() -> None:
            while time.monotonic() < end:
                visits.memory.append(resident(process.pid))
                time.sleep(1)

        threading.Thread(target=watch, daemon=True).start()
        with ThreadPoolExecutor(clients) as pool:
            for visitor in range(clients):
                pool.submit(visit, address, clips, visitor, end, visits)
    finally:
        process.terminate()
        process.wait(timeout=20)
    errors = sum(visits.errors.values()) + len(re.findall("ERROR|Traceback", log.read_text()))
    for question, times in visits.seconds.items():
        yield Row(
            f"{clients} visitors {question}, for {seconds} s: {len(times)} answers",
            Spread.of(times),
            note=f"{errors} errors; seconds of the clock",
        )
    yield Row(
        "the page's memory, the most",
        Spread.of([max(visits.memory) / MIB]),
        bound=Spread.of([before / MIB]),
        bound_is="before the first visitor",
        unit="MiB",
    )
