"""Many visitors of the page at once, for a minute: answers, errors, waiting time and memory.

Each visitor loads the page, sends a recording, looks at the pictures that are found, and asks for
one in writing, again and again.

Example:
    python -m benchmarks.page_load --index pictures.index --clips downloads/mini/wavs
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.measure import MIB, get_parser, show

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


def main() -> None:
    """Serves, visits, measures."""
    parser = get_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True, help="made by speechclip index")
    parser.add_argument("--clips", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--log", type=Path, default=Path("page_load.log"), help="of the server")
    args = parser.parse_args()
    clips = sorted(args.clips.glob("*.wav"))
    process, address = start(args.index, args.log)
    visits = Visits()
    try:
        before = resident(process.pid)
        end = time.monotonic() + args.seconds

        def watch() -> None:
            while time.monotonic() < end:
                visits.memory.append(resident(process.pid))
                time.sleep(1)

        threading.Thread(target=watch, daemon=True).start()
        with ThreadPoolExecutor(args.clients) as pool:
            for visitor in range(args.clients):
                pool.submit(visit, address, clips, visitor, end, visits)
        after = resident(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=20)
    half = visits.memory[len(visits.memory) // 2]
    result = {
        "clients": args.clients,
        "seconds": args.seconds,
        "answers": {question: len(times) for question, times in visits.seconds.items()},
        "waited_seconds": {
            question: {"median": float(np.median(times)), "most": max(times)}
            for question, times in visits.seconds.items()
        },
        "errors": dict(visits.errors),
        "memory_mib": {
            "before": before / MIB,
            "after_half": half / MIB,
            "most": max(visits.memory) / MIB,
            "after": after / MIB,
        },
        "lines_in_log_with_error": len(re.findall("ERROR|Traceback", args.log.read_text())),
    }
    rows = [
        f"{question}: {len(times)} answers, median {np.median(times):.2f} s"
        for question, times in visits.seconds.items()
    ]
    rows.append(f"errors: {sum(visits.errors.values())}")
    rows.append("memory: " + ", ".join(f"{k} {v:.0f} MiB" for k, v in result["memory_mib"].items()))
    show("\n".join(rows), result, args.output)


if __name__ == "__main__":
    main()
