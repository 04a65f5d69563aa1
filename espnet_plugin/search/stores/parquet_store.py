"""Parquet: ``parquet:FILE``, or a folder of files.

clip-retrieval's folders (https://github.com/rom1504/clip-retrieval) hold ``img_emb/*.npy``, and
``metadata/*.parquet`` with a row for each vector, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.index import nearest_rows
from espnet_plugin.search.stores.store import VECTORS, Row, Store, column


def read_tables(place: Path) -> pa.Table:
    """A file, or the files of a folder as one table; raises DataError if there are none."""
    files = [place] if place.is_file() else sorted(place.glob("*.parquet"))
    if not files:
        raise DataError(f"{place}: no Parquet file")
    tables = [parquet.read_table(file) for file in files]
    return pa.concat_tables(tables, promote_options="permissive")


class Opened(Store):
    """See :class:`Store`; a search compares all vectors."""

    def _open(self) -> None:
        place = Path(self.place)
        arrays = [np.load(file) for file in sorted(place.glob("img_emb/*.npy"))]
        table = read_tables(place / "metadata" if arrays else place)
        if arrays:
            table = table.append_column(VECTORS[0], pa.array(list(np.concatenate(arrays))))
        self._set(table)

    def _set(self, table: pa.Table) -> None:
        name = column(VECTORS, table.column_names)
        table = table.filter(pc.field(name).is_valid())
        rows = pc.list_flatten(table[name]).to_numpy().astype(np.float32).reshape(len(table), -1)
        self._unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
        self._table, self.dim = table, rows.shape[1]

    def _near(self, query: np.ndarray, number: int) -> Iterable[Row]:
        unwanted = np.zeros(len(self._unit), bool)
        rows, _ = nearest_rows(query[None], self._unit, number, unwanted)
        return self._table.take(rows).to_pylist()
