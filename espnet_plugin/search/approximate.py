"""A short code for each vector, for a quick scan of millions.

The codes are faiss' RaBitQ (https://arxiv.org/abs/2405.12497): one bit for each dimension of the
difference between a vector and the center of all. A scan of the codes proposes candidates, and
their exact scores decide. faiss' own file format is never read, because a malicious file could run
code: codes and center are plain arrays, and every byte is a valid code.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from espnet_plugin.data.scp import DataError
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.progress import progress

AUTOMATIC = 1_000_000  # vectors from which on an index is searched approximately
CANDIDATES = 4000
ROWS_OF_CANDIDATE = 1000  # more rows hide the nearest behind more codes
CENTER_ROWS = 100_000
BLOCK = 16_384


def codes_file(directory: Path, generation: int, rows: int) -> Path:
    """Path of the codes of an index's first vectors."""
    return directory / f"codes-{generation}-{rows}.safetensors"


@dataclass(frozen=True)
class Codes:
    """The codes of an index's first rows.

    Attributes:
        center: Mean of a sample of the vectors when the first codes were made, float32 (dim,).
        codes: Codes of the rows, (rows, bytes), mapped into memory.
        windows: Whether a row is of a recording, (rows,).
    """

    center: np.ndarray
    codes: np.ndarray
    windows: np.ndarray

    @cached_property
    def shards(self) -> list[Any]:
        """The codes as faiss indexes of consecutive rows, one for each thread."""
        number = min(import_faiss().omp_get_max_threads(), len(self.codes))

        def load(part: np.ndarray) -> Any:
            coder = _coder(self.center)
            coder.add_sa_codes(part)
            return coder

        with ThreadPoolExecutor(number) as threads:
            return list(threads.map(load, np.array_split(self.codes, number)))


def write_codes(
    path: Path, vectors: np.ndarray, windows: np.ndarray, known: Codes | None = None
) -> None:
    """Makes the codes of vectors (rows, dim); see :class:`Codes`.

    Known codes of the first rows stay with their center, if they are at least half of all.
    """
    from safetensors.numpy import save_file

    if known and 2 * len(known.codes) < len(vectors):
        known = None
    done, every = len(known.codes) if known else 0, max(1, len(vectors) // CENTER_ROWS)
    center = known.center if known else vectors[::every].mean(axis=0, dtype=np.float32)
    coder = _coder(center)
    codes = np.empty((len(vectors), coder.code_size), np.uint8)
    if known:
        codes[:done] = known.codes
    for start in progress(range(done, len(vectors), BLOCK), description="codes", unit="block"):
        block = np.ascontiguousarray(vectors[start : start + BLOCK], np.float32)
        codes[start : start + BLOCK] = coder.sa_encode(block)
    arrays = {"center": np.array(center), "are_windows": np.packbits(windows), "codes": codes}
    with atomic_path(path) as temporary:
        save_file(arrays, temporary)
        # safetensors 0.8 writes files that only their owner can read
        temporary.chmod(path.parent.stat().st_mode & 0o666)


def read_codes(path: Path, *, rows: int, dim: int) -> Codes:
    """Reads the codes of an index's first rows.

    Raises:
        DataError: If the file is missing or damaged.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, framework="np") as file:
            center, form = file.get_tensor("center"), file.get_slice("codes")
            kind, shape, last = form.get_dtype(), tuple(form.get_shape()), file.offset_keys()[-1]
            bits = file.get_tensor("are_windows")
        if (center.dtype, center.shape) != (np.float32, (dim,)):
            raise ValueError(f"center {center.dtype} {center.shape}")
        size = _coder(center).code_size
        if (kind, shape, last) != ("U8", (rows, size), "codes"):
            raise ValueError(f"codes {kind} {shape} before {last}")
        windows = np.unpackbits(bits, count=min(rows, 8 * bits.size)).view(bool)
        codes = np.memmap(path, np.uint8, "r", path.stat().st_size - rows * size, shape)
    except ImportError:
        raise
    except Exception as error:  # a damaged file can fail in any way
        raise DataError(f"{path}: missing or damaged ({error})") from error
    return Codes(center, codes, windows)


def candidates(
    codes: Codes, query: np.ndarray, unwanted: np.ndarray, number: int | None, *, least: int
) -> np.ndarray:
    """Rows that are probably among the nearest to a query (1, dim), ascending, without unwanted."""
    number = max(number or max(CANDIDATES, len(codes.codes) // ROWS_OF_CANDIDATE), least)
    faiss = import_faiss()
    firsts = np.cumsum([0, *(shard.ntotal for shard in codes.shards)])

    def scan(first: int, shard: Any) -> tuple[np.ndarray, np.ndarray]:
        options, skipped = {}, unwanted[first : first + shard.ntotal]
        if skipped.any():
            selector = faiss.IDSelectorBitmap(np.packbits(~skipped, bitorder="little"))
            options["params"] = faiss.SearchParameters(sel=selector)
        scores, rows = shard.search(query, min(number, shard.ntotal), **options)
        found = rows[0] >= 0
        return scores[0, found], rows[0, found] + first

    with ThreadPoolExecutor(len(codes.shards)) as threads:  # faiss scans one query in one thread
        found = list(threads.map(scan, firsts, codes.shards))
    scores, rows = (np.concatenate(each) for each in zip(*found, strict=True))
    return np.sort(rows[np.argsort(-scores)[:number]])


def import_faiss() -> ModuleType:
    """Imports the library that finds near vectors.

    Raises:
        ImportError: If it is missing; the message has the command that installs it.
    """
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    try:
        import faiss
    except ImportError as error:
        needed = "pip install faiss-cpu (extra: search)"
        raise ImportError(f"search needs faiss ({error}): {needed}") from error
    return faiss


def _coder(center: np.ndarray) -> Any:
    faiss = import_faiss()
    coder = faiss.IndexRaBitQ(len(center), faiss.METRIC_INNER_PRODUCT)
    faiss.copy_array_to_vector(np.array(center, np.float32), coder.center)
    coder.is_trained = True
    return coder
