"""FAISS: ``faiss:FILE#PATHS``.

FAISS only numbers its vectors. PATHS says which images they are of: a text file with a path in each
line, a Parquet file, or a folder of these. By default it is ``FILE.parquet``, which is written here
and also holds the vectors, or ``metadata`` beside FILE, where clip-retrieval has it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.approximate import import_faiss
from espnet_plugin.search.stores import parquet_store
from espnet_plugin.search.stores.store import Row
from espnet_plugin.utils.atomic import atomic_path


class Opened(parquet_store.Opened):
    """See :class:`Store`; a new one compares all vectors."""

    ranks_by_cosine = False

    def _open(self) -> None:
        self._file, self._faiss = Path(f"{self.place}.parquet"), import_faiss()
        if self.new and not os.path.exists(self.place):
            if self.table:
                raise DataError(f"paths are written to {self._file}; leave out #{self.table}")
            return
        beside = self._file if self._file.exists() else self._file.with_name("metadata")
        paths = Path(self.table or beside)
        if not paths.exists():
            raise DataError(f"{paths} is missing; name a file of paths: faiss:FILE#PATHS")
        if paths.is_dir() or paths.suffix == ".parquet":
            self._table = parquet_store.read_tables(paths)
        else:
            self._table = pa.table({"path": paths.read_bytes().splitlines()})
        self.clip = parquet_store.clip_of_schema(self._table.schema)
        self.read_only = not self.clip or paths != self._file
        if not self.read_only:  # made here: the paths' file has the vectors that belong to them
            return self._set(self._table)
        self._index = self._faiss.read_index(self.place)
        self.dim, number = self._index.d, self._index.ntotal
        if len(self._table) != number:
            raise DataError(f"{paths} has {len(self._table)} paths for {number} vectors")

    def _near(self, query: np.ndarray, number: int) -> Iterable[Row]:
        number = max(1, min(number, self._index.ntotal))
        _, rows, vectors = self._index.search_and_reconstruct(query[None], number)
        paths = self._table.take(rows[rows >= 0]).to_pylist()  # -1: nothing more was found
        found = zip(paths, vectors[rows >= 0], strict=True)
        return [{**path, "vector": vector} for path, vector in found]

    def _set(self, table: pa.Table) -> None:
        super()._set(table)
        self._index = self._faiss.IndexFlatIP(self.dim)
        self._index.add(self._unit)

    def _write(self) -> None:
        if not self._file.exists():  # or a kill between the two would leave an index without paths
            super()._write()
        with atomic_path(self.place) as temporary:
            self._faiss.write_index(self._index, str(temporary))
        super()._write()  # last: after a kill, what is not in it is added again, to both
