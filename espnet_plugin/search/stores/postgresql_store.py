"""PostgreSQL with pgvector: ``postgresql://USER@HOST/DATABASE#TABLE``."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

import numpy as np
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.stores.store import VECTORS, Row, Store, column

COLUMNS = """
SELECT attname AS name, format_type(atttypid, NULL) AS type, atttypmod AS dim,
    obj_description(attrelid) AS comment FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
"""
DIM = "SELECT vector_dims({vector}) AS dim FROM {table} WHERE {vector} IS NOT NULL LIMIT 1"
NEAR = """
SELECT *, {vector}::real[] AS vector FROM {table} WHERE {vector} IS NOT NULL
ORDER BY {vector} <=> %s::{type} LIMIT %s
"""
NEW = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE {table} (path text PRIMARY KEY, content text, vector vector({dim}));
COMMENT ON TABLE {table} IS {clip}
"""


class Opened(Store):
    """See :class:`Store`; an index of the table is used if it is for cosines."""

    def _open(self) -> None:
        place = f"postgresql:{self.place}"
        self._database = psycopg.connect(place, autocommit=True, row_factory=dict_row)
        weakref.finalize(self, self._database.close)
        self._name = sql.Identifier(*self.table.split("."))
        self._look()

    def _look(self) -> None:
        table = self._name
        rows = self._database.execute(COLUMNS, (table.as_string(self._database),)).fetchall()
        vectors = {row["name"]: row for row in rows if row["type"] in ("vector", "halfvec")}
        if self.table and self.new and not rows:
            return
        if not vectors:
            raise DataError(f"{self.name}: no such table, or no column of vectors; give #TABLE")
        name = next(iter(vectors)) if len(vectors) == 1 else column(VECTORS, vectors)
        vector, kind = sql.Identifier(name), sql.SQL(vectors[name]["type"])
        self.dim, self.clip = vectors[name]["dim"], vectors[name]["comment"] or ""
        if self.dim < 0:  # the column takes any length
            one = self._database.execute(sql.SQL(DIM).format(vector=vector, table=table)).fetchone()
            self.dim = one["dim"] if one else 0
        self._near_sql = sql.SQL(NEAR).format(table=table, vector=vector, type=kind)

    def _near(self, query: np.ndarray, number: int) -> Iterable[Row]:
        return self._database.execute(self._near_sql, (str(query.tolist()), number))

    def _change(self, gone: list[str], new: list[Row]) -> None:
        if not self.dim:
            dim, clip = sql.Literal(len(new[0]["vector"])), sql.Literal(self.clip)
            self._database.execute(sql.SQL(NEW).format(table=self._name, dim=dim, clip=clip))
            self._look()
        delete = sql.SQL("DELETE FROM {} WHERE path = ANY(%s)").format(self._name)
        query = sql.SQL("INSERT INTO {} VALUES (%s, %s, %s)").format(self._name)
        rows = [(row["path"], row["content"], str(row["vector"].tolist())) for row in new]
        with self._database.transaction(), self._database.cursor() as cursor:
            cursor.execute(delete, (gone,))
            cursor.executemany(query, rows)

    def _files(self) -> Iterable[Row]:
        query = sql.SQL("SELECT path, content FROM {}").format(self._name)
        return self._database.execute(query)
