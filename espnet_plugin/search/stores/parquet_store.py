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
from espnet_plugin.search.stores.store import CLIP, VECTORS, Row, Store, column
from espnet_plugin.utils.atomic import atomic_path


def table_of(rows: list[Row], clip: str, dim: int = 0) -> pa.Table:
    """Rows of a store that is made here."""
    vector = pa.list_(pa.float32(), dim or len(rows[0]["vector"]))
    columns = [("path", pa.string()), ("content", pa.string()), ("vector", vector)]
    return pa.Table.from_pylist(rows, pa.schema(columns, {CLIP: clip}))


def clip_of_schema(schema: pa.Schema) -> str:
    """What a table says of its CLIP."""
    return (schema.metadata or {}).get(CLIP.encode(), b"").decode()


def read_tables(place: Path) -> pa.Table:
    """A file, or the files of a folder as one table; raises DataError if there are none."""
    files = [place] if place.is_file() else sorted(place.glob("[!.]*.parquet"))
    if not files:
        raise DataError(f"{place}: no Parquet file")
    return pa.concat_tables(map(parquet.read_table, files), promote_options="permissive")


class Opened(Store):
    """See :class:`Store`; reads the file once, compares all vectors, and writes the file again."""

    def _open(self) -> None:
        place = self._file = Path(self.place)
        if self.new and not place.exists():
            return
        arrays = [np.load(file) for file in sorted(place.glob("img_emb/[!.]*.npy"))]
        table = read_tables(place / "metadata" if arrays else place)
        if arrays:
            table = table.append_column(VECTORS[0], pa.array(list(np.concatenate(arrays))))
        self._set(table)

    def _set(self, table: pa.Table) -> None:
        name = column(VECTORS, table.column_names)
        table = table.filter(pc.field(name).is_valid())
        dims = pc.list_value_length(table[name]).unique().to_pylist()
        if len(dims) > 1:
            raise DataError(f"vectors of {dims[0]} and of {dims[1]} numbers in one column, {name}")
        self.dim = dims[0] if dims else getattr(table.schema.field(name).type, "list_size", 0)
        numbers = pc.list_flatten(table[name]).to_numpy().astype(np.float32)
        rows = numbers.reshape(len(table), self.dim)
        unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
        self._unit = np.nan_to_num(unit, copy=False)  # a number that is none has no order
        self._table, self.clip = table, clip_of_schema(table.schema)

    def _near(self, query: np.ndarray, number: int) -> Iterable[Row]:
        unwanted = np.zeros(len(self._unit), bool)
        rows, _ = nearest_rows(query[None], self._unit, number, unwanted)
        return self._table.take(rows).to_pylist()

    def _change(self, gone: list[str], new: list[Row]) -> None:
        table = [table_of(new, self.clip, self.dim)]
        if self.dim:
            kept = pc.invert(pc.is_in(self._table["path"], pa.array(gone)))
            table = [self._table.filter(kept), *table]
        self._set(pa.concat_tables(table))
        self._write()

    def _write(self) -> None:
        with atomic_path(self._file) as temporary:
            parquet.write_table(self._table, temporary)

    def _files(self) -> Iterable[Row]:
        return self._table.select(["path", "content"]).to_pylist()
