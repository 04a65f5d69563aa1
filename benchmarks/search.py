"""Search in an index of a million images.

Searches a real index of clustered vectors. Embeddings of images form clusters.
Times are processor seconds unless a column says otherwise.

Example:
    python -m benchmarks.search [--vectors 1000000]
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np

from benchmarks.measure import parser_of, print_table, spread
from espnet_plugin.apps.search import index as searching
from espnet_plugin.apps.search.catalog import Catalog, State, Window
from espnet_plugin.apps.search.index import Index
from espnet_plugin.apps.search.vectors import FILE, write_rows
from espnet_plugin.utils.hashing import inode_stamp

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
    """Makes an index like ``speechclip index``."""
    catalog = Catalog(directory, create=True)
    catalog.set_state(State(dim=DIM))
    start = 0
    for block in blocks:
        write_rows(directory / FILE, start, block)
        with catalog.transaction():
            for row in range(start, start + len(block)):
                path = f"/home/somebody/Pictures/{row // 1000:05d}/IMG_{row:08d}.jpg"
                content = row.to_bytes(32, "little")
                catalog.add_vector(row, content, Window())
                catalog.put(path, STAMP, content)
        start += len(block)
    catalog.close()


def measure(directory: Path, *, number: int, queries: int) -> None:
    """Makes an index of so many vectors, opens it and searches; prints a table."""
    source = Vectors()
    started = time.process_time()
    make_index(directory, source.blocks(number))
    filled = time.process_time() - started
    clock = time.monotonic()
    index, asked = Index(directory), source.draw(queries)
    index.search(asked[0])  # reads the file once
    opened = time.monotonic() - clock
    size = {path.stem: path.stat().st_size / number for path in directory.iterdir()}
    seconds = []
    for query in asked:
        started = time.process_time()
        index.search(query, top=TOP)
        seconds.append(time.process_time() - started)
    made = [spread([filled]), spread([opened]), spread(seconds)]
    made += [f"{size[name]:.0f}" for name in ("vectors", "catalog")]
    header = ("drawn and written", "opened and searched, by the clock", "a search")
    names = ("vectors, bytes of an image", "catalog")
    print_table((f"{number:,} vectors", *header, *names), [("", *made)])


if __name__ == "__main__":
    main()
