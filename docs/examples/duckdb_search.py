"""Search the vectors of ``speechclip embed --part`` by voice, in DuckDB.

It needs ``pip install duckdb``. Run it in the folder that holds ``parts``::

    python duckdb_search.py fill parts
    python duckdb_search.py search query.wav

DuckDB can also search the files without ``fill``: write ``FROM 'parts/*.parquet'`` in ``NEAREST``.
"""

from __future__ import annotations

import sys

import duckdb

from espnet_plugin import SpeechCLIP

MODEL = "flickr8k-base-hybrid-plus"  # which made the parts
DATABASE = "images.duckdb"
NEAREST = """
SELECT list_cosine_similarity(vector, ?::FLOAT[]) AS score, decode(path)
FROM media WHERE start IS NULL ORDER BY score DESC LIMIT 3
"""


def fill(parts: str) -> None:
    """Makes the table of a folder of parts."""
    with duckdb.connect(DATABASE) as database:
        database.read_parquet(f"{parts}/*.parquet").create("media")


def search(recording: str) -> None:
    """Prints the three images that are nearest to a recording."""
    query = SpeechCLIP.from_pretrained(MODEL).encode_speech(recording)[0]
    with duckdb.connect(DATABASE) as database:
        for score, path in database.execute(NEAREST, [query.tolist()]).fetchall():
            print(f"{score:.3f} {path}")


if __name__ == "__main__":
    {"fill": fill, "search": search}[sys.argv[1]](sys.argv[2])
