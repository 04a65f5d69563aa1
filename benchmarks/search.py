"""Search in an index of a million images.

Searches a real index of clustered vectors exactly and by codes. Embeddings of images form clusters.
Times are processor seconds unless a column says otherwise.

Example:
    python -m benchmarks.search [--vectors 1000000]
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np

from benchmarks.measure import parser_of, print_table, spread
from espnet_plugin.data.freshness import inode_stamp
from espnet_plugin.search import index as searching
from espnet_plugin.search.approximate import codes_file, write_codes
from espnet_plugin.search.catalog import Catalog, State, Window
from espnet_plugin.search.index import Index
from espnet_plugin.search.vectors import read_rows, vectors_file, write_rows

BLOCK = 20_000
CLUSTERS = 2000
TOP = 10
DIM = 512
STAMP = str(inode_stamp(__file__))


def main() -> None:
    """Makes an index and measures it."""
    parser = parser_of(__doc__)
    parser.add_argument("--vectors", type=int, default=1_000_000, help="that are searched")
    parser.add_argument("--work_dir", type=Path, help="folder for a few GB of files")
    args = parser.parse_args()
    # the images do not exist: this file stands for each
    with (
        tempfile.TemporaryDirectory(dir=args.work_dir) as directory,
        mock.patch.object(searching, "inode_stamp", lambda path: inode_stamp(__file__)),
    ):
        if args.quick:
            measure(Path(directory), number=5000, queries=3)
        else:
            measure(Path(directory), number=args.vectors, queries=30)


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


def measure(directory: Path, *, number: int, queries: int) -> None:
    """Makes an index of so many vectors, opens it and searches with several numbers of candidates;
    prints a table of each."""
    source = Vectors()
    started = time.process_time()
    make_index(directory, source.blocks(number))
    filled = time.process_time() - started
    asked = source.draw(queries)
    exact, expected = searches(Index(directory), asked, exact=True)
    catalog = Catalog(directory)
    vectors = read_rows(vectors_file(directory, 0), rows=number, dim=DIM)
    started = time.process_time()
    write_codes(codes_file(directory, 0, number), vectors, np.zeros(number, bool))
    coded = time.process_time() - started
    catalog.set_state(State(dim=DIM, coded=number))
    clock = time.monotonic()
    Index(directory).search(asked[0])
    opened = time.monotonic() - clock
    size = {path.stem.split("-")[0]: path.stat().st_size for path in directory.iterdir()}
    made = [spread([seconds]) for seconds in (filled, coded, opened)]
    made += [f"{size[name] / number:.0f}" for name in ("vectors", "catalog", "codes")]
    header = ("drawn and written", "codes made", "opened and searched, by the clock")
    names = ("vectors, bytes of an image", "catalog", "codes")
    print_table((f"{number:,} vectors", *header, *names), [("", *made)])

    rows = [("every vector compared", spread(exact), "", "1.000")]
    for candidates in (1000, 4000, 8000):
        index = Index(directory, candidates=candidates)
        clock = time.monotonic()
        ours, found = searches(index, asked)
        seconds = (time.monotonic() - clock) / (queries + 1)
        share = f"{recall(found, expected):.3f}"
        rows.append((f"{candidates:,} candidates", spread(ours), spread([seconds]), share))
    print_table(("", "a search", "by the clock", f"of the {TOP} nearest"), rows)


def searches(
    index: Index, queries: np.ndarray, **options: bool
) -> tuple[list[float], list[list[int]]]:
    """Processor seconds of a search, and the rows that were found."""
    index.search(queries[0], **options)  # reads the file once
    seconds, found = [], []
    for query in queries:
        started = time.process_time()
        hits = index.search(query, top=TOP, **options)
        seconds.append(time.process_time() - started)
        found.append([int(hit.path[-12:-4]) for hit in hits])
    return seconds, found


if __name__ == "__main__":
    main()
