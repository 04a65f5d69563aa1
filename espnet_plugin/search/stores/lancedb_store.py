"""LanceDB: ``lancedb:DIR#TABLE``."""

from __future__ import annotations

from collections.abc import Iterable

import lancedb
import numpy as np

from espnet_plugin.search.stores.store import VECTORS, Row, Store, column, only


class Opened(Store):
    """See :class:`Store`."""

    def _open(self) -> None:
        database = lancedb.connect(self.place)
        self._table = database.open_table(self.table or only(database.list_tables().tables))
        self._vector = column(VECTORS, self._table.schema.names)
        self.dim = self._table.schema.field(self._vector).type.list_size

    def _near(self, query: np.ndarray, number: int) -> Iterable[Row]:
        search = self._table.search(query, vector_column_name=self._vector)
        return search.distance_type("cosine").limit(number).to_list()
