"""Indexes of images in other formats."""

from __future__ import annotations

import importlib
import os
import re

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.index import Index
from espnet_plugin.search.stores.store import Store, store_errors

# Each has a module with a class ``Opened``, and needs packages.
STORES = {
    "faiss": "faiss-cpu pyarrow",
    "lancedb": "lancedb",
    "parquet": "pyarrow",
    "postgresql": "psycopg[binary]",
    "qdrant": "qdrant-client",
    "rclip": "pyarrow",
}
RISKY = ("faiss", "qdrant")  # whose files can run code when they are read


def is_store(name: str) -> bool:
    """Whether a name means a store, not a folder made by ``speechclip index``."""
    return name.startswith(tuple(f"{kind}:" for kind in STORES))


def open_index(
    name: str, *, clip: str = "", trust: bool = False, new: bool = False
) -> Index | Store:
    """Opens a folder made by ``speechclip index``, or a store.

    Args:
        name: A folder, or ``KIND:PLACE#TABLE``.
        clip: Made the vectors of a store that does not say it, ``ViT-B-32/openai``.
        trust: Read a FAISS file, or a folder of Qdrant, although it could run code.
        new: Make a store if there is none.

    Raises:
        DataError: If there is none, it cannot be read, or another CLIP made it.
        ImportError: With the package that is missing.
        ValueError: If the store is not trusted.
    """
    if not is_store(name):
        return Index(name)
    kind, place, table = re.findall(r"(\w+):([^#]*)#?(.*)", name)[0]
    name = re.sub(r"(://[^:/@]*):[^/@]*@", r"\1:***@", name)  # errors and logs show it
    place = os.path.expanduser(place)
    there = os.path.exists(place)
    if not (there or new or "://" in place or kind == "postgresql"):  # some libraries would make it
        raise DataError(f"{kind}:{place}: no such file or folder")
    if kind in RISKY and there and not trust:
        raise ValueError(
            f"{place} could run code when it is read. If you trust its maker, add --trust_index"
        )
    try:
        module = importlib.import_module(f"{__name__}.{kind}_store")
    except ImportError as error:
        needed = f"pip install {STORES[kind]} (extra: stores)"
        raise ImportError(f"{name}: {error}; {needed}") from error
    with store_errors(name):
        return module.Opened(name, place, table, clip, new)
