"""Search the vectors of ``speechclip embed --part`` by voice, in FAISS.

It needs ``pip install faiss-cpu``. Run it in the folder that holds ``parts``::

    python faiss_search.py fill parts
    python faiss_search.py search query.wav

FAISS only numbers its vectors, so ``images.parquet`` holds their paths.
"""

from __future__ import annotations

import sys

import faiss
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from espnet_plugin import SpeechCLIP

MODEL = "flickr8k-base-hybrid-plus"  # which made the parts


def fill(parts: str) -> None:
    """Writes the images of a folder of parts as ``images.faiss`` and ``images.parquet``."""
    images = pq.read_table(parts, filters=pc.field("start").is_null())
    pq.write_table(images.select(["path"]), "images.parquet")
    vectors = np.stack(images["vector"].to_numpy()).astype(np.float32)  # (images, dim)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    faiss.write_index(index, "images.faiss")


def search(recording: str) -> None:
    """Prints the three images that are nearest to a recording."""
    query = SpeechCLIP.from_pretrained(MODEL).encode_speech(recording)  # (1, dim)
    paths = pq.read_table("images.parquet")["path"].to_pylist()
    scores, numbers = faiss.read_index("images.faiss").search(query, 3)
    for score, number in zip(scores[0], numbers[0], strict=True):
        print(f"{score:.3f} {paths[number].decode()}")


if __name__ == "__main__":
    {"fill": fill, "search": search}[sys.argv[1]](sys.argv[2])
