"""What an index of pictures costs and finds at a million pictures and more.

Makes a real index of random and of clustered vectors with a picture's path each, and searches it
exactly and by codes: recall@10, bytes per picture, seconds to build, seconds per search. With
``--compare`` other indices of faiss are measured on the same vectors, each proposing as many
candidates, whose exact scores decide.

Random directions are the worst case, for nothing is near to anything; embeddings of pictures lie in
clusters. Seconds are of one thread's work, so that a busy machine matters little.

Example:
    OMP_NUM_THREADS=1 python -m benchmarks.search_scale --rows 1000000
    OMP_NUM_THREADS=1 python -m benchmarks.search_scale --rows 50000 --queries 20 \
        --candidates 1000 --compare RaBitQ2 IVF128,RaBitQ IVF128,SQ8
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import get_parser, show
from espnet_plugin.search import index as searching
from espnet_plugin.search.approximate import import_faiss, update_codes
from espnet_plugin.search.catalog import Catalog, Picture
from espnet_plugin.search.folders import stamp_of
from espnet_plugin.search.index import PictureIndex
from espnet_plugin.search.vectors import GrowingArray, read_rows, vectors_file

BLOCK = 20_000
CLUSTERS = 2000
TOP = 10
TEN_MILLION = 10_000_000
STAMP = str(stamp_of(__file__))
# the pictures are not there: this file is looked at instead of each
searching.stamp_of = lambda path: stamp_of(__file__)


class Vectors:
    """Unit vectors.

    Args:
        kind: ``random`` directions; or ``clustered`` around 2000 centers, some with many vectors
            and some with few, with a cosine of 0.7 to their center and of 0.5 to each other.
        dim: Of a vector.
    """

    def __init__(self, kind: str, dim: int) -> None:
        self.rng = np.random.default_rng(0)
        self.dim = dim
        self.centers = np.zeros((1, dim), np.float32)
        self.shares = np.ones(1)
        if kind == "clustered":
            self.centers = _unit(self.rng.standard_normal((CLUSTERS, dim), dtype=np.float32))
            self.shares = self.rng.dirichlet(np.full(CLUSTERS, 0.5))

    def draw(self, number: int) -> np.ndarray:
        """Vectors (number, dim)."""
        centers = self.centers[self.rng.choice(len(self.shares), number, p=self.shares)]
        noise = self.rng.standard_normal((number, self.dim), dtype=np.float32)
        return _unit(centers + noise / np.sqrt(self.dim, dtype=np.float32))

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """Vectors in parts."""
        for start in range(0, rows, BLOCK):
            yield self.draw(min(BLOCK, rows - start))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_index(directory: Path, blocks: Iterator[np.ndarray], dim: int) -> None:
    """An index as ``speechclip index`` leaves it, without codes."""
    catalog = Catalog(directory, create=True)
    vectors = GrowingArray(vectors_file(directory, 0), width=dim)
    catalog.set("dim", dim)
    for block in blocks:
        start = vectors.rows
        vectors.append(block)
        with catalog.transaction():
            for row in range(start, vectors.rows):
                path = f"/home/somebody/Pictures/{row // 1000:05d}/IMG_{row:08d}.jpg"
                catalog.add_vector(row, row.to_bytes(32, "little"))
                catalog.put(Picture(path, STAMP, row))
    catalog.close()


def seconds_of(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the processor, and what came out."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def recall(found: Sequence[Sequence[Any]], expected: Sequence[Sequence[Any]]) -> float:
    """Share of the expected ones that were found."""
    pairs = zip(found, expected, strict=True)
    return float(np.mean([len(set(f) & set(e)) / len(e) for f, e in pairs]))


def measure(
    directory: Path, queries: np.ndarray, candidates: Sequence[int]
) -> tuple[dict[str, Any], list[list[int]]]:
    """Codes of an index, and its searches; also the rows that are nearest to each query."""

    def search(index: PictureIndex, **options: Any) -> tuple[float, list[list[str]]]:
        index.search(queries[0], **options)  # reads the file once
        results = [seconds_of(lambda q=q: index.search(q, top=TOP, **options)) for q in queries]
        found = [[hit.path for hit in hits] for _, hits in results]
        return float(np.median([seconds for seconds, _ in results])), found

    exact_seconds, expected = search(PictureIndex(directory), exact=True)
    catalog = Catalog(directory)
    rows, dim = catalog.vectors(), catalog.setting("dim")
    vectors = read_rows(vectors_file(directory, 0), width=dim, rows=rows)
    code_seconds, centered_on = seconds_of(
        lambda: update_codes(directory, vectors, generation=0, centered_on=None)
    )
    catalog.set("centered_on", centered_on)
    load_seconds, _ = seconds_of(lambda: PictureIndex(directory))
    sizes = {path.stem.split("-")[0]: path.stat().st_size / rows for path in directory.iterdir()}
    searches = {}
    for number in candidates:
        seconds, found = search(PictureIndex(directory, candidates=number))
        searches[number] = {"seconds": seconds, f"recall@{TOP}": recall(found, expected)}
    result = {
        "bytes_per_picture": sizes,
        "code_seconds": code_seconds,
        "load_seconds": load_seconds,
        "exact_seconds": exact_seconds,
        "approximate": searches,
    }
    return result, [[int(path[-12:-4]) for path in paths] for paths in expected]


def compare(
    spec: str,
    vectors: np.ndarray,
    queries: np.ndarray,
    expected: list[list[int]],
    candidates: Sequence[int],
) -> dict[str, Any]:
    """Another index of faiss, with candidates and exact scores as ours; a sixteenth of the lists
    of an inverted file are looked through."""
    faiss = import_faiss()
    index = faiss.index_factory(vectors.shape[1], spec, faiss.METRIC_INNER_PRODUCT)
    lists = faiss.try_extract_index_ivf(index)
    if lists is not None:
        lists.nprobe = max(1, lists.nlist // 16)

    def build() -> None:
        index.train(np.ascontiguousarray(vectors[:: max(1, len(vectors) // 65536)]))
        for start in range(0, len(vectors), BLOCK):
            index.add(np.ascontiguousarray(vectors[start : start + BLOCK]))

    def search(query: np.ndarray, number: int) -> list[int]:
        if hasattr(index, "hnsw"):
            index.hnsw.efSearch = number
        rows = index.search(query[None], number)[1][0]
        rows = np.sort(rows[rows >= 0])
        return rows[np.argsort(-(vectors[rows] @ query))[:TOP]].tolist()

    build_seconds, _ = seconds_of(build)
    searches = {}
    for number in candidates:
        results = [seconds_of(lambda q=q, n=number: search(q, n)) for q in queries]
        searches[number] = {
            "seconds": float(np.median([seconds for seconds, _ in results])),
            f"recall@{TOP}": recall([rows for _, rows in results], expected),
        }
    return {
        "bytes_per_picture": faiss.serialize_index(index).nbytes / len(vectors),
        "code_seconds": build_seconds,
        "approximate": searches,
    }


def table(rows: int, results: dict[str, dict[str, Any]]) -> str:
    """Results for people."""
    lines = []
    for name, result in results.items():
        size = result["bytes_per_picture"]
        if isinstance(size, dict):
            total = sum(size.values())
            lines.append(
                f"{name}, {rows:,} x: {total:.0f} bytes per picture (vectors {size['vectors']:.0f},"
                f" catalog {size['catalog']:.0f}, codes {size['codes']:.0f}); exact search "
                f"{result['exact_seconds']:.3f} s"
            )
            size = size["codes"]
        lines.append(f"  {name}: {size:.0f} bytes of code, made in {result['code_seconds']:.0f} s")
        for number, search in result["approximate"].items():
            found, seconds = search[f"recall@{TOP}"], search["seconds"]
            at_ten = seconds * TEN_MILLION / rows
            lines.append(
                f"    {number} candidates: recall@{TOP} {found:.3f}, {seconds:.3f} s; "
                f"{TEN_MILLION:,} by extrapolation: {at_ten:.2f} s, "
                f"{size * TEN_MILLION / 2**30:.1f} GiB of memory"
            )
    return "\n".join(lines)


def main(cmd: Sequence[str] | None = None) -> None:
    """Measures each kind of vectors."""
    parser = get_parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--kinds", nargs="*", default=["random", "clustered"])
    parser.add_argument("--candidates", type=int, nargs="*", default=[1000, 4000, 8000])
    parser.add_argument("--compare", nargs="*", default=[], help="faiss' index descriptions")
    args = parser.parse_args(cmd)
    results: dict[str, dict[str, Any]] = {}
    for kind in args.kinds:
        source = Vectors(kind, args.dim)
        with tempfile.TemporaryDirectory() as temporary:
            directory = Path(temporary)
            make_index(directory, source.blocks(args.rows), args.dim)
            queries = source.draw(args.queries)
            results[kind], expected = measure(directory, queries, args.candidates)
            vectors = read_rows(vectors_file(directory, 0), width=args.dim)
            for spec in args.compare:
                results[f"{kind}, {spec}"] = compare(
                    spec, vectors, queries, expected, args.candidates
                )
    show(table(args.rows, results), results, args.output)


if __name__ == "__main__":
    main()
