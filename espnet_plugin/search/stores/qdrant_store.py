"""Qdrant: ``qdrant:http://HOST:6333#COLLECTION``, or a folder of its client's local mode.

A folder holds pickled points. A server gets the key ``$QDRANT_API_KEY``.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models

from espnet_plugin.search.stores.store import Row, Store, only


class Opened(Store):
    """See :class:`Store`."""

    _using: str | None = None  # which of a point's vectors, if it has several

    def _open(self) -> None:
        server: Any = {"url": self.place, "api_key": os.environ.get("QDRANT_API_KEY")}
        self._client = QdrantClient(**(server if "://" in self.place else {"path": self.place}))
        weakref.finalize(self, self._client.close)  # frees a folder
        names = [each.name for each in self._client.get_collections().collections]
        self.table = self.table or only(names)
        vectors: Any = self._client.get_collection(self.table).config.params.vectors
        if isinstance(vectors, dict):
            self._using = only(list(vectors))
            vectors = vectors[self._using]
        self.dim, self.ranks_by_cosine = vectors.size, vectors.distance == models.Distance.COSINE

    def _near(self, query: np.ndarray, number: int) -> Iterable[Row]:
        found = self._client.query_points(
            self.table, query.tolist(), using=self._using, limit=number, with_vectors=True
        )
        for point in found.points:
            vector = point.vector[self._using] if self._using else point.vector
            yield {**point.payload, "vector": vector}
