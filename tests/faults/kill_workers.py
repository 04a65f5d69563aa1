"""Kills Dask's workers while they write the parts of a job, and compares what they leave.

One part kills its worker whenever it is tried, until it is repaired; one worker is slow.

Example:
    python -m tests.faults.kill_workers --work /tmp/workers --kills 100
"""

from __future__ import annotations

import logging
import os
import random
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from espnet_plugin.apps.search import parts
from espnet_plugin.apps.search.cluster import run_parts
from espnet_plugin.utils.errors import DataError
from tests.espnet_plugin.apps.search.conftest import MODEL, PixelEncoder, picture
from tests.faults.kill_parts import contents, embed_recording, make_source
from tests.faults.kills import kill_command

PARTS, WORKERS, SLOW = 8, 4, 3
KILLS = 3  # in each job: Dask gives up a part that has lost four workers
SECONDS = 0.05  # that a batch takes


class DeadlyEncoder(PixelEncoder):
    """Kills its process at one picture, as a decoder's fault would; works slowly in one worker."""

    def __init__(self, deadly: Path | None, slow: bool) -> None:
        super().__init__()
        self.deadly, self.slow = deadly, slow

    def read(self, path: str) -> np.ndarray:
        if self.deadly is not None and self.deadly.exists() and path.endswith("/deadly.png"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(path)

    def encode(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        threading.Event().wait(SECONDS * (5 if self.slow else 1))
        return super().encode(pictures)


def write(
    part: tuple[int, int], *, source: Path, output: Path, deadly: Path | None = None
) -> parts.Part:
    """Writes a part in batches of two pictures."""
    slow = False
    if deadly is not None:
        from distributed import get_worker

        slow = get_worker().name == SLOW
    with mock.patch.object(parts, "BATCH", 2):
        encoder = DeadlyEncoder(deadly, slow)
        return parts.embed_part(
            [str(source)], output, part=part, model=MODEL, encoder=encoder,
            embed_recording=embed_recording,
        )  # fmt: skip


class Killer(threading.Thread):
    """Kills workers that run, after random times, while it has kills left.

    Attributes:
        left: How many more.
        killed: How many it has killed.
    """

    def __init__(self, cluster: Any, seed: int) -> None:
        super().__init__(daemon=True)
        self.cluster, self.chance = cluster, random.Random(seed)
        self.left = self.killed = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(self.chance.uniform(0.1, 1.5)):
            known = self.cluster.scheduler.workers.values()
            busy = {state.name for state in list(known) if state.processing}
            pids = [
                nanny.process.pid
                for name, nanny in list(self.cluster.workers.items())
                if name in busy and nanny.process is not None and nanny.process.pid
            ]
            if self.left and pids:
                with suppress(ProcessLookupError):  # the deadly picture was quicker
                    os.kill(self.chance.choice(pids), signal.SIGKILL)
                    self.left, self.killed = self.left - 1, self.killed + 1


@contextmanager
def four_workers() -> Iterator[Any]:
    """A cluster whose workers start soon: they are forked, with the modules."""
    import dask
    from distributed import LocalCluster
    from distributed.utils import get_mp_context

    options = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None}
    configuration = {
        "distributed.worker.multiprocessing-method": "forkserver",
        "distributed.deploy.lost-worker-timeout": "1 day",  # as open_client sets it
    }
    with dask.config.set(configuration):
        get_mp_context().set_forkserver_preload(["distributed", "tests.faults.kill_workers"])
        with LocalCluster(n_workers=WORKERS, **options) as cluster:
            yield cluster


@contextmanager
def killer(cluster: Any, seed: int) -> Iterator[Killer]:
    """Runs a killer."""
    thread = Killer(cluster, seed)
    thread.start()
    try:
        yield thread
    finally:
        thread.ended.set()
        thread.join()


def kill_workers(work: Path, *, kills: int, seed: int = 0) -> Path:
    """Runs jobs on four workers until so many were killed.

    Args:
        work: An empty folder.
        kills: How many in all, without those by the deadly picture.
        seed: Of the times.

    Returns:
        The folder of the parts that one process wrote, which those of all jobs equal.

    Raises:
        AssertionError: If a part differs, is missing or left over, or a deadly one is not named.
    """
    source = make_source(work / "source")
    picture(source / "sub1" / "deadly.png", 99)
    for number in range(1, PARTS + 1):
        write((number, PARTS), source=source, output=work / "one")
    wanted = contents(work / "one")
    poisoned = next(
        number
        for number in range(1, PARTS + 1)
        if str(source / "sub1" / "deadly.png") in parts.files_of_part([str(source)], number, PARTS)
    )
    logging.getLogger("distributed").setLevel("ERROR")  # every death is several lines
    jobs = 0
    with four_workers() as cluster, killer(cluster, seed) as by:
        where = {"parts": PARTS, "cluster": cluster.scheduler_address, "workers": WORKERS}
        while by.killed < kills or not jobs:
            jobs += 1
            output, deadly = work / f"job{jobs}", work / "deadly"
            deadly.touch()
            run = partial(write, source=source, output=output, deadly=deadly)
            by.left = KILLS
            try:
                run_parts(run, **where)
            except DataError as error:
                failed = set(map(int, re.findall(r"part (\d+): ", str(error))))
            else:
                raise AssertionError("a part that kills its workers was written")
            # a part that was beside it on all its workers may be named, too
            assert poisoned in failed
            whole = {path.name for path in output.glob("part-*")}
            assert f"part-{poisoned}-of-{PARTS}.parquet" not in whole
            assert whole | {f"part-{n}-of-{PARTS}.parquet" for n in failed} == set(wanted)
            deadly.unlink()
            by.left = KILLS
            run_parts(run, **where)
            by.left = 0
            assert contents(output) == wanted, f"job {jobs}, seed {seed}"
        print(f"{by.killed} kills in {jobs} jobs: all parts equal those of one process")
    return work / "one"


if __name__ == "__main__":
    kill_command(kill_workers, __doc__)
