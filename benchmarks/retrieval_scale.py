"""Time of 25,000 × 5,000 retrieval in both directions, and memory of 1 M × 1 M.

The large one would take hours on a small machine. Its tables are made first and every later tile
is of the same size, so it is stopped after ``--limit`` seconds, and its peak memory until then is
printed beside that of the embeddings alone, with the time that the small one's rate lets expect.

Example:
    python -m benchmarks.retrieval_scale
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import threading
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.measure import MIB, get_parser, peak_memory, show
from espnet_plugin.evaluation.retrieval import rank_embeddings


def embeddings(rows: int, dim: int, seed: int) -> np.ndarray:
    """Random unit vectors, (rows, dim)."""
    rng = np.random.default_rng(seed)
    values = np.empty((rows, dim), np.float32)
    for start in range(0, rows, 10000):  # temporary copies would hide what is measured
        part = rng.standard_normal((min(10000, rows - start), dim), dtype=np.float32)
        values[start : start + 10000] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return values


def small(queries: int, items: int, dim: int, repeats: int) -> float:
    """Least seconds of both directions, several captions to a picture."""
    left, right = embeddings(queries, dim, 0), embeddings(items, dim, 1)
    ids = np.arange(queries) % items
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        rank_embeddings(left, right, ids, np.arange(items))
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def large(rows: int, dim: int, connection: multiprocessing.connection.Connection) -> None:
    """Ranks rows × rows; sends the memory of the embeddings, then the peak once a second."""
    left, right = embeddings(rows, dim, 0), embeddings(rows, dim, 1)
    connection.send(peak_memory() / MIB)

    def report() -> None:
        while True:
            time.sleep(1)
            connection.send(peak_memory() / MIB)

    threading.Thread(target=report, daemon=True).start()
    rank_embeddings(left, right, np.arange(rows), np.arange(rows))


def watch(rows: int, dim: int, limit: float) -> tuple[float, float]:
    """MiB of the embeddings and MiB at the peak of a run that is stopped after ``limit`` s."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=large, args=(rows, dim, sender))
    process.start()
    before = peak = receiver.recv()
    end = time.monotonic() + limit
    while time.monotonic() < end and process.is_alive():
        if receiver.poll(1):
            peak = receiver.recv()
    process.kill()
    process.join()
    return before, peak


def main(cmd: Sequence[str] | None = None) -> None:
    """Measures the large one, then the small one."""
    parser = get_parser(__doc__)
    parser.add_argument("--queries", type=int, default=25000)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the large one, both sides")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=60, help="seconds of the large one")
    args = parser.parse_args(cmd)
    before, peak = watch(args.rows, args.dim, args.limit)
    seconds = small(args.queries, args.items, args.dim, args.repeats)
    hours = seconds / (args.queries * args.items) * args.rows**2 / 3600
    show(
        f"{args.queries:,} x {args.items:,} x {args.dim}: {seconds:.2f} s, both directions\n"
        f"{args.rows:,} x {args.rows:,} x {args.dim}: {peak:.0f} MiB, embeddings {before:.0f} MiB;"
        f" about {hours:.1f} h",
        {"seconds": seconds, "mib": peak, "embeddings_mib": before, "hours": hours},
        args.output,
    )


if __name__ == "__main__":
    main()
