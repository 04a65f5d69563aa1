"""The database of rclip (https://github.com/yurijmikhalevich/rclip): ``rclip:FILE``."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.stores import parquet_store

# by the version of the database: rclip/db.py of rclip 3.3
CLIPS = dict.fromkeys((1, 2), "ViT-B-32/openai")
CLIPS |= dict.fromkeys((3, 4), "ViT-B-32-256/datacomp_s34b_b86k")


class Opened(parquet_store.Opened):
    """See :class:`Store`; a search compares all vectors."""

    read_only = True

    def _open(self) -> None:
        uri = f"{Path(self.place).absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            database.execute("PRAGMA trusted_schema = OFF")
            version = database.execute("SELECT version FROM db_version").fetchone() or (1,)
            query = "SELECT filepath, vector FROM images WHERE deleted IS NULL"
            rows = database.execute(query).fetchall()
        if version[0] not in CLIPS:
            raise DataError(f"{self.place}: version {version[0]} of rclip's database is not known")
        paths = [path for path, _ in rows]
        vectors = [np.frombuffer(vector, "<f4") for _, vector in rows]
        self._set(pa.table({"path": paths, "vector": pa.array(vectors, pa.list_(pa.float32()))}))
        self.clip = CLIPS[version[0]]
