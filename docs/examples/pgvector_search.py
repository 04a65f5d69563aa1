"""Search the vectors of ``speechclip embed --part`` by voice, in PostgreSQL with pgvector.

It needs PostgreSQL with the extension pgvector (Debian: ``apt-get install
postgresql-17-pgvector``), and ``pip install 'psycopg[binary]'``. Run it in the folder that holds
``parts``::

    python pgvector_search.py fill parts
    python pgvector_search.py search query.wav

A search compares the query with every image. pgvector's HNSW index makes it compare fewer, and then
it can miss a near one. The index must know how many numbers a vector has (512 with a base model)::

    CREATE INDEX ON media USING hnsw ((embedding::vector(512)) vector_cosine_ops)
        WHERE start IS NULL;

The index is used by a query that orders by the same expression, so in NEAREST, replace both
``embedding`` by ``embedding::vector(512)``. The error ``different vector dimensions`` means that
another model made the query.
"""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg
import pyarrow.parquet as pq

from espnet_plugin import SpeechCLIP

MODEL = "flickr8k-base-hybrid-plus"  # which made the parts
DATABASE = "dbname=postgres"
NEAREST = """
SELECT 1 - (embedding <=> %(query)s::vector), path FROM media
WHERE start IS NULL ORDER BY embedding <=> %(query)s::vector LIMIT 3
"""


def fill(parts: str) -> None:
    """Adds the rows of a folder of parts."""
    with psycopg.connect(DATABASE) as database:
        database.execute("CREATE EXTENSION IF NOT EXISTS vector")
        database.execute("CREATE TABLE media (path text, start float, embedding vector)")
        with database.cursor().copy("COPY media FROM STDIN") as copy:
            for part in Path(parts).glob("*.parquet"):
                for batch in pq.ParquetFile(part).iter_batches(batch_size=1000):
                    for row in batch.to_pylist():
                        vector = str([*map(float, row["vector"])])
                        copy.write_row((row["path"].decode(), row["start"], vector))


def search(recording: str) -> None:
    """Prints the three images that are nearest to a recording."""
    query = SpeechCLIP.from_pretrained(MODEL).encode_speech(recording)[0]
    with psycopg.connect(DATABASE) as database:
        for score, path in database.execute(NEAREST, {"query": str(query.tolist())}):
            print(f"{score:.3f} {path}")


if __name__ == "__main__":
    {"fill": fill, "search": search}[sys.argv[1]](sys.argv[2])
