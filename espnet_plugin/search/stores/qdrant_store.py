"""Qdrant: ``qdrant:http://HOST:6333#COLLECTION``, or a folder of its client's local mode.

A folder holds pickled points. A server gets the key ``$QDRANT_API_KEY``.
"""

from __future__ import annotations

import os
import uuid
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models

from espnet_plugin.search.stores.store import CLIP, VECTORS, Row, Store, column, only

PAGE = 4096


class Opened(Store):
    """See :class:`Store`."""

    _using: str | None = None  # which of a point's vectors, if it has several

    def _open(self) -> None:
        server: Any = {"url": self.place, "api_key": os.environ.get("QDRANT_API_KEY")}
        self._client = QdrantClient(**(server if "://" in self.place else {"path": self.place}))
        weakref.finalize(self, self._client.close)  # frees a folder
        names = [each.name for each in self._client.get_collections().collections]
        self.table = self.table or ("images" if self.new and not names else only(names))
        if self.new and self.table not in names:
            return
        config = self._client.get_collection(self.table).config
        vectors: Any = config.params.vectors
        self.clip = (config.metadata or {}).get(CLIP, "")
        if isinstance(vectors, dict):
            self._using = column(VECTORS, vectors) if len(vectors) > 1 else only(list(vectors))
            vectors = vectors[self._using]
        self.dim, self.ranks_by_cosine = vectors.size, vectors.distance == models.Distance.COSINE

    def _near(self, query: np.ndarray, number: int) -> Iterable[Row]:
        found = self._client.query_points(
            self.table, query.tolist(), using=self._using, limit=number, with_vectors=True
        )
        point: Any  # named vectors and the payload may be missing elsewhere
        for point in found.points:
            vector = point.vector[self._using] if self._using else point.vector
            yield {**point.payload, "vector": vector}

    def _change(self, gone: list[str], new: list[Row]) -> None:
        if not self.dim:
            self.dim = len(new[0]["vector"])
            size = models.VectorParams(size=self.dim, distance=models.Distance.COSINE)
            metadata = {CLIP: self.clip}
            self._client.create_collection(self.table, vectors_config=size, metadata=metadata)
        numbers: Any = [str(uuid.uuid5(uuid.NAMESPACE_URL, path)) for path in gone]
        if new:  # replaces points of the same number
            vectors = np.array([row.pop("vector") for row in new])
            self._client.upload_collection(self.table, vectors, new, numbers, wait=True)
        else:
            self._client.delete(self.table, numbers)

    def _files(self) -> Iterable[Row]:
        place: Any = None
        while True:
            points, place = self._client.scroll(self.table, limit=PAGE, offset=place)
            yield from (point.payload or {} for point in points)
            if place is None:
                return
