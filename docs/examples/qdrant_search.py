"""Search the vectors of ``speechclip embed --part`` by voice, in Qdrant.

It needs ``pip install qdrant-client``. Run it in the folder that holds ``parts``::

    python qdrant_search.py fill parts
    python qdrant_search.py search query.wav

The database is the folder ``images.qdrant``. For a server, name it in ``connect``, e.g.
``QdrantClient("http://localhost:6333")``.
"""

from __future__ import annotations

import sys

import pyarrow.parquet as pq
from qdrant_client import QdrantClient, models

from espnet_plugin import SpeechCLIP

MODEL = "flickr8k-base-hybrid-plus"  # which made the parts


def connect() -> QdrantClient:
    """Opens the database."""
    return QdrantClient(path="images.qdrant")


def fill(parts: str) -> None:
    """Adds the rows of a folder of parts."""
    rows = pq.read_table(parts).to_pylist()
    vectors = models.VectorParams(size=len(rows[0]["vector"]), distance=models.Distance.COSINE)
    payload = [{"path": row["path"].decode(), "start": row["start"]} for row in rows]
    client = connect()
    client.create_collection("media", vectors)
    client.upload_collection("media", [row["vector"] for row in rows], payload, wait=True)
    client.close()


def search(recording: str) -> None:
    """Prints the three images that are nearest to a recording."""
    query = SpeechCLIP.from_pretrained(MODEL).encode_speech(recording)[0]
    no_start = models.IsNullCondition(is_null=models.PayloadField(key="start"))
    client = connect()
    images = models.Filter(must=[no_start])
    found = client.query_points("media", query.tolist(), query_filter=images, limit=3)
    for hit in found.points:
        print(f"{hit.score:.3f} {(hit.payload or {}).get('path')}")
    client.close()


if __name__ == "__main__":
    {"fill": fill, "search": search}[sys.argv[1]](sys.argv[2])
