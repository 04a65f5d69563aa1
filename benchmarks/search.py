"""Search in an index of a million images.

Searches a real index of clustered vectors exactly and by codes. Embeddings of images form clusters.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np

from benchmarks.measure import Row, Settings, Spread
from espnet_plugin.search import index as searching
from espnet_plugin.search.approximate import codes_file, write_codes
from espnet_plugin.search.catalog import Catalog, State, Window
from espnet_plugin.search.folders import stamp_of
from espnet_plugin.search.index import Index
from espnet_plugin.search.vectors import read_rows, vectors_file, write_rows

SECONDS = 90
BLOCK = 20_000
CLUSTERS = 2000
TOP = 10
DIM = 512
STAMP = str(stamp_of(__file__))


def rows(settings: Settings) -> Iterator[Row]:
    """Measures making an index, opening it, and searches with several numbers of candidates."""
    # the images do not exist: this file stands for each
    with mock.patch.object(searching, "stamp_of", lambda path: stamp_of(__file__)):
        yield from _rows(settings)


class Vectors:
    """Unit vectors around 2000 centers, some with many vectors and some with few, with a cosine of
    0.7 to their center and of 0.5 to each other.
    """

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.centers = _unit(self.rng.standard_normal((CLUSTERS, DIM), dtype=np.float32))
        self.shares = self.rng.dirichlet(np.full(CLUSTERS, 0.5))

    def draw(self, number: int) -> np.ndarray:
        """Vectors (number, dim)."""
        centers = self.centers[self.rng.choice(CLUSTERS, number, p=self.shares)]
        noise = self.rng.standard_normal((number, DIM), dtype=np.float32)
        return _unit(centers + noise / np.sqrt(DIM, dtype=np.float32))

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """Vectors in parts."""
        for start in range(0, rows, BLOCK):
            yield self.draw(min(BLOCK, rows - start))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_index(directory: Path, blocks: Iterator[np.ndarray]) -> None:
    """Makes an index like ``speechclip index``, without codes."""
    catalog = Catalog(directory, create=True)
    catalog.set_state(State(dim=DIM))
    start = 0
    for block in blocks:
        write_rows(vectors_file(directory, 0), start, block)
        with catalog.transaction():
            for row in range(start, start + len(block)):
                path = f"/home/somebody/Pictures/{row // 1000:05d}/IMG_{row:08d}.jpg"
                content = row.to_bytes(32, "little")
                catalog.add_vector(row, content, Window())
                catalog.put(path, STAMP, content)
        start += len(block)
    catalog.close()


def recall(found: Sequence[Sequence[int]], expected: Sequence[Sequence[int]]) -> float:
    """Share of the expected rows that were found."""
    pairs = zip(found, expected, strict=True)
    return float(np.mean([len(set(f) & set(e)) / len(e) for f, e in pairs]))


def _rows(settings: Settings) -> Iterator[Row]:
    number, queries = (5000, 3) if settings.quick else (settings.vectors, 30)
    source = Vectors()
    directory = settings.work_dir / "index"
    directory.mkdir()
    started = time.process_time()
    make_index(directory, source.blocks(number))
    filled = time.process_time() - started
    yield Row(f"{number:,} vectors drawn and written, with their catalog", Spread.of([filled]))
    asked = source.draw(queries)
    exact, expected = searches(Index(directory), asked, exact=True)
    catalog = Catalog(directory)
    vectors = read_rows(vectors_file(directory, 0), rows=number, dim=DIM)
    started = time.process_time()
    write_codes(codes_file(directory, 0, number), vectors, np.zeros(number, bool))
    made = time.process_time() - started
    catalog.set_state(State(dim=DIM, coded=number))
    clock = time.monotonic()
    Index(directory).search(asked[0])
    opened = Spread.of([time.monotonic() - clock])
    yield Row(f"an index of {number:,} opened and searched, the clock's seconds", opened)
    for candidates in (1000, 4000, 8000):
        index = Index(directory, candidates=candidates)
        clock = time.monotonic()
        ours, found = searches(index, asked)
        clock = (time.monotonic() - clock) / (queries + 1) * 1000
        yield Row(
            f"{number:,} clustered vectors, {candidates:,} candidates",
            ours,
            baseline=exact,
            baseline_is="every vector compared",
            note=f"finds {recall(found, expected):.3f} of the {TOP} nearest; "
            f"{clock:.0f} ms by the clock",
        )
    size = {path.stem.split("-")[0]: path.stat().st_size for path in directory.iterdir()}
    names = ("vectors", "catalog", "codes")
    parts = ", ".join(f"{name} {size[name] / number:.0f}" for name in names)
    yield Row(
        f"codes of {number:,} clustered vectors",
        Spread.of([made]),
        note=f"bytes of an image: {parts}",
    )


def searches(index: Index, queries: np.ndarray, **options: bool) -> tuple[Spread, list[list[int]]]:
    """Processor seconds of a search, and the rows that were found."""
    index.search(queries[0], **options)  # reads the file once
    seconds, found = [], []
    for query in queries:
        started = time.process_time()
        hits = index.search(query, top=TOP, **options)
        seconds.append(time.process_time() - started)
        found.append([int(hit.path[-12:-4]) for hit in hits])
    return Spread.of(seconds), found
