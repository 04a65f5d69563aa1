"""Retrieval of a whole set, in both directions."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import threading
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.measure import GIB, Row, Settings, Spread, by_turns, peak_memory
from espnet_plugin.evaluation.retrieval import rank_embeddings

SECONDS = 30
LONG_SECONDS = 60
DIM = 512


def rows(settings: Settings) -> Iterator[Row]:
    """SpokenCOCO's test set: five captions to a picture."""
    queries, items = (100, 20) if settings.quick else (25000, 5000)
    left, right = embeddings(queries, 0), embeddings(items, 1)
    ids = np.arange(queries) % items
    product = np.empty((queries, items), np.float32)

    def obvious() -> None:
        """All similarities, sorted both ways."""
        similarities = left @ right.T
        for scores, mine, others in (
            (similarities, ids, np.arange(items)),
            (similarities.T, np.arange(items), ids),
        ):
            order = np.argsort(-scores, axis=1)
            (others[order] == mine[:, None]).argmax(axis=1)

    times = by_turns(
        {
            "ours": lambda: rank_embeddings(left, right, ids, np.arange(items)),
            "baseline": obvious,
            "bound": lambda: np.matmul(left, right.T, out=product),
        },
        turns=settings.turns,
    )
    yield Row(
        f"{queries:,} utterances × {items:,} pictures, {DIM} dimensions",
        **times,
        baseline_is="all similarities in memory, sorted",
        bound_is="the matrix product",
    )


def long_rows(settings: Settings) -> Iterator[Row]:
    """Memory of a million times a million, which would take hours.

    Its tables are made first and every later tile is of the same size, so it is stopped after a
    while.
    """
    number = 20_000 if settings.quick else 1_000_000
    before, peak = watch(number, limit=5 if settings.quick else 40)
    yield Row(
        f"memory of {number:,} × {number:,}",
        Spread.of([peak / GIB]),
        bound=Spread.of([before / GIB]),
        bound_is="the embeddings alone",
        unit="GiB",
    )


def embeddings(rows: int, seed: int) -> np.ndarray:
    """Random unit vectors, (rows, dim)."""
    rng = np.random.default_rng(seed)
    values = np.empty((rows, DIM), np.float32)
    for start in range(0, rows, 10000):  # temporary copies would hide what is measured
        part = rng.standard_normal((min(10000, rows - start), DIM), dtype=np.float32)
        values[start : start + 10000] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return values


def large(rows: int, connection: multiprocessing.connection.Connection) -> None:
    """Ranks rows × rows; sends the memory of the embeddings, then the peak once a second."""
    left, right = embeddings(rows, 0), embeddings(rows, 1)
    connection.send(peak_memory())

    def report() -> None:
        while True:
            time.sleep(1)
            connection.send(peak_memory())

    threading.Thread(target=report, daemon=True).start()
    rank_embeddings(left, right, np.arange(rows), np.arange(rows))


def watch(rows: int, *, limit: float) -> tuple[int, int]:
    """Bytes of the embeddings and bytes at the peak of a run that is stopped after ``limit`` s."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=large, args=(rows, sender))
    process.start()
    before = peak = receiver.recv()
    end = time.monotonic() + limit
    while time.monotonic() < end and process.is_alive():
        if receiver.poll(1):
            peak = receiver.recv()
    process.kill()
    process.join()
    return before, peak
