"""FAISS: ``faiss:FILE#PATHS``.

FAISS only numbers its vectors. PATHS says which images they are of: a text file with a path in each
line, a Parquet file, or a folder of these, by default ``metadata`` beside FILE, where
clip-retrieval has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.approximate import import_faiss
from espnet_plugin.search.stores.parquet_store import read_tables
from espnet_plugin.search.stores.store import Row, Store


class Opened(Store):
    """See :class:`Store`."""

    ranks_by_cosine = False

    def _open(self) -> None:
        self._index = import_faiss().read_index(self.place)
        self.dim, number = self._index.d, self._index.ntotal
        paths = Path(self.table or Path(self.place).with_name("metadata"))
        if not paths.exists():
            raise DataError(f"{paths} is missing; name a file of paths: faiss:FILE#PATHS")
        if paths.is_dir() or paths.suffix == ".parquet":
            self._table = read_tables(paths)
        else:
            self._table = pa.table({"path": paths.read_text("utf-8").splitlines()})
        if len(self._table) != number:
            raise DataError(f"{paths} has {len(self._table)} paths for {number} vectors")

    def _near(self, query: np.ndarray, number: int) -> Iterable[Row]:
        number = min(number, self._index.ntotal)
        _, rows, vectors = self._index.search_and_reconstruct(query[None], number)
        paths = self._table.take(rows[rows >= 0]).to_pylist()  # -1: nothing more was found
        found = zip(paths, vectors[rows >= 0], strict=True)
        return [{**path, "vector": vector} for path, vector in found]
