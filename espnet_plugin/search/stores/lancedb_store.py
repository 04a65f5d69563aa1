"""LanceDB: ``lancedb:DIR#TABLE``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import lancedb
import numpy as np

from espnet_plugin.search.stores.parquet_store import clip_of_schema, table_of
from espnet_plugin.search.stores.store import VECTORS, Row, Store, column, only


class Opened(Store):
    """See :class:`Store`; a search sees what another process adds."""

    def _open(self) -> None:
        self._database = lancedb.connect(self.place, read_consistency_interval=timedelta(0))
        names = self._database.list_tables().tables
        self.table = self.table or ("images" if self.new and not names else only(names))
        if self.new and self.table not in names:
            return
        self._table = self._database.open_table(self.table)
        schema = self._table.schema
        self._vector, self.clip = column(VECTORS, schema.names), clip_of_schema(schema)
        self.dim = schema.field(self._vector).type.list_size

    def _near(self, query: np.ndarray, number: int) -> Iterable[Row]:
        search: Any = self._table.search(query, vector_column_name=self._vector)
        return search.distance_type("cosine").limit(number).to_list()

    def _change(self, gone: list[str], new: list[Row]) -> None:
        if not self.dim:
            self._database.create_table(self.table, table_of(new, self.clip))
            self._open()
        elif new:  # at once: a kill between removing and adding would lose images
            merge = self._table.merge_insert("path").when_matched_update_all()
            merge.when_not_matched_insert_all().execute(table_of(new, self.clip, self.dim))
        else:
            quoted = ("'" + path.replace("'", "''") + "'" for path in gone)
            self._table.delete(f"path IN ({', '.join(quoted)})")

    def _files(self) -> Iterable[Row]:
        rows = self._table.search().select(["path", "content"])
        return rows.limit(self._table.count_rows()).to_list()
