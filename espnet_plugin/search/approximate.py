"""A short code for each vector, for a quick scan of millions.

The codes are faiss' RaBitQ (https://arxiv.org/abs/2405.12497): one bit for each dimension of the
difference between a vector and the center of all. A scan of the codes proposes candidates, and
their exact scores decide. faiss' own file format is never read, because a malicious file could run
code: codes and center are plain arrays, and every byte is a valid code.
"""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from espnet_plugin.data.scp import DataError
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.progress import progress

AUTOMATIC = 1_000_000  # images from which on an index is searched approximately
CANDIDATES = 4000
CENTER_ROWS = 100_000
BLOCK = 16_384


def codes_file(directory: Path, generation: int, rows: int) -> Path:
    """Path of the codes of an index's first vectors."""
    return directory / f"codes-{generation}-{rows}.safetensors"


def write_codes(path: Path, vectors: np.ndarray) -> None:
    """Makes the codes of vectors (rows, dim)."""
    from safetensors.numpy import save_file

    center = vectors[:: max(1, len(vectors) // CENTER_ROWS)].mean(axis=0)
    coder = _coder(center)
    codes = np.empty((len(vectors), coder.code_size), np.uint8)
    for start in progress(range(0, len(vectors), BLOCK), description="codes", unit="block"):
        block = np.ascontiguousarray(vectors[start : start + BLOCK])
        codes[start : start + BLOCK] = coder.sa_encode(block)
    with atomic_path(path) as temporary:
        save_file({"center": np.array(center), "codes": codes}, temporary)


def read_codes(path: Path, *, rows: int, dim: int) -> Any:
    """The codes of an index's first rows, as a faiss index.

    Raises:
        DataError: If the file is missing or damaged.
    """
    from safetensors.numpy import load_file

    try:
        arrays = load_file(path)
        center, codes = arrays["center"], arrays["codes"]
        if (center.dtype, center.shape) != (np.float32, (dim,)):
            raise ValueError(f"center {center.dtype} {center.shape}")
        coder = _coder(center)
        if (codes.dtype, codes.shape) != (np.uint8, (rows, coder.code_size)):
            raise ValueError(f"codes {codes.dtype} {codes.shape}")
    except ImportError:
        raise
    except Exception as error:  # a damaged file can fail in any way
        raise DataError(f"{path}: missing or damaged ({error})") from error
    coder.add_sa_codes(codes)
    return coder


def candidates(codes: Any, query: np.ndarray, number: int, unwanted: np.ndarray) -> np.ndarray:
    """Rows that are probably among the nearest to a query (1, dim), ascending, without unwanted."""
    options = {}
    if unwanted.any():
        faiss = import_faiss()
        wanted = faiss.IDSelectorBitmap(np.packbits(~unwanted, bitorder="little"))
        options["params"] = faiss.SearchParameters(sel=wanted)
    rows = codes.search(query, min(number, codes.ntotal), **options)[1][0]
    return np.sort(rows[rows >= 0])


def import_faiss() -> ModuleType:
    """The library that finds near vectors.

    Raises:
        ImportError: With the command that installs it.
    """
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            f"search needs faiss ({error}): pip install faiss-cpu (extra: search)"
        ) from error
    return faiss


def _coder(center: np.ndarray) -> Any:
    faiss = import_faiss()
    coder = faiss.IndexRaBitQ(len(center), faiss.METRIC_INNER_PRODUCT)
    faiss.copy_array_to_vector(np.array(center, np.float32), coder.center)
    coder.is_trained = True
    return coder
