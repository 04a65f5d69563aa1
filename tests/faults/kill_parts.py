"""Kills the processes that write the parts of a job, and compares what they leave.

Example:
    python -m tests.faults.kill_parts --work /tmp/parts --kills 100
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow
import soundfile
from PIL import Image

from espnet_plugin.apps.search import parts
from espnet_plugin.apps.search.catalog import Window
from espnet_plugin.apps.search.update import Windows
from espnet_plugin.media.audio import read_audio
from espnet_plugin.media.images import reads_heif
from espnet_plugin.utils.errors import DataError
from tests.espnet_plugin.apps.search.conftest import MODEL, PixelEncoder, picture
from tests.faults.kills import kill_command

# what is imported when it is first used: processes that die young would do nothing else
Image.init(), reads_heif(), pyarrow.array([0])
PARTS = 3
PICTURES, RECORDINGS = 40, 12
SECONDS = 0.01  # that a batch takes
WINDOW = 4800  # samples


class SlowEncoder(PixelEncoder):
    """Gives time to be killed."""

    def encode(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        time.sleep(SECONDS)
        return super().encode(pictures)


def embed_recording(path: str) -> Windows:
    """The loudness of 48 pieces of each window of 0.3 s."""
    try:
        samples = read_audio(path).mono
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    time.sleep(SECONDS)
    number = len(samples) // WINDOW
    rows = np.abs(samples[: number * WINDOW]).reshape(number, 48, -1).mean(axis=2)
    windows = [Window(0.3 * n, 0.3 * (n + 1)) for n in range(number)]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), windows


def make_source(folder: Path) -> Path:
    """Pictures and recordings, one of each damaged."""
    rng = np.random.default_rng(0)
    for n in range(PICTURES):
        picture(folder / f"sub{n % 3}" / f"{n}.png", n)
    for n in range(RECORDINGS):
        soundfile.write(folder / f"{n}.wav", 0.1 * rng.standard_normal(WINDOW * (1 + n % 3)), 16000)
    (folder / "poisoned.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (folder / "poisoned.wav").write_bytes((folder / "0.wav").read_bytes()[:1000])
    return folder


def write_part(source: Path, output: Path, number: int, begun: Connection | None = None) -> None:
    """Writes a part in batches of two pictures; says when it begins."""
    if begun is not None:
        begun.send_bytes(b"begun")
    with mock.patch.object(parts, "BATCH", 2):
        parts.embed_part(
            [str(source)],
            output,
            part=(number, PARTS),
            model=MODEL,
            encoder=SlowEncoder(),
            embed_recording=embed_recording,
        )


def contents(output: Path) -> dict[str, bytes]:
    """Files of a folder of parts."""
    return {path.name: path.read_bytes() for path in output.iterdir()}


def kill_parts(work: Path, *, kills: int, seed: int = 0) -> Path:
    """Kills a process for each part at random times, and starts it again, round after round.

    Args:
        work: An empty folder.
        kills: How many in all.
        seed: Of the times.

    Returns:
        The folder of the undisturbed parts, which those of all rounds equal.

    Raises:
        AssertionError: If a part differs, or files are left over.
    """
    chance, source = random.Random(seed), make_source(work / "source")
    started = time.monotonic()
    for number in range(1, PARTS + 1):
        write_part(source, work / "undisturbed", number)
    longest = (time.monotonic() - started) / PARTS
    wanted = contents(work / "undisturbed")
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.kill_parts"])
    killed = rounds = 0
    while killed < kills:
        rounds += 1
        output, waiting = work / f"round{rounds}", list(range(1, PARTS + 1))
        while waiting:
            number = chance.choice(waiting)
            begun, begins = context.Pipe(duplex=False)
            process = context.Process(target=write_part, args=(source, output, number, begins))
            process.start()
            begun.recv_bytes()
            process.join(chance.uniform(0, 2 * longest) if killed < kills else None)
            if process.is_alive():
                process.kill()
                process.join()
                killed += 1
            else:
                assert process.exitcode == 0
                waiting.remove(number)
        assert contents(output) == wanted, f"round {rounds}, seed {seed}"
    print(f"{kills} kills in {rounds} rounds: all parts equal the undisturbed ones")
    return work / "undisturbed"


if __name__ == "__main__":
    kill_command(kill_parts, __doc__)
