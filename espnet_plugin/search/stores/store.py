"""What all stores share: exact cosines, and whose CLIP made the vectors."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.index import TOP, WIDEN, Hit, unit_query
from espnet_plugin.search.model import IndexedModel, clip_of, identify_model
from espnet_plugin.search.update import Embedded, batched

# how others call their columns
PATHS = ("path", "image_path", "filepath", "file_path", "filename", "file", "uri", "url")
VECTORS = ("vector", "embedding", "embeddings", "image_embedding", "clip_embedding", "emb")
CANDIDATES, BLOCK = 100, 50_000
CLIP = "speechclip.clip"  # in the metadata of a store that is made here
UNIT = 0.3  # compressed unit vectors are shorter or longer by less
Row = dict[str, Any]  # by the columns of the store: a path, a vector and others


class Store(ABC):
    """An index of images in another format, as ``open_index`` opens it."""

    dim, ranks_by_cosine, clip, read_only = 0, True, "", False

    def __init__(self, name: str, place: str, table: str, clip: str, new: bool) -> None:
        self.name, self.place, self.table, self.new = name, place, table, new
        self._open()
        # others' columns are unknown
        self.writable = bool(self.clip or not self.dim) and not self.read_only
        self.clip = self.clip or clip
        if clip:
            self.check_clip(clip)

    @abstractmethod
    def _open(self) -> None:
        """Opens what is there, and sets ``dim``, which is 0 if there is nothing."""

    @abstractmethod
    def _near(self, query: np.ndarray, number: int) -> Iterable[Row]:
        """About as many of the nearest."""

    @abstractmethod
    def _change(self, gone: list[str], new: list[Row]) -> None:
        """Adds rows of path, content and vector, or replaces them; without rows, removes paths."""

    @abstractmethod
    def _files(self) -> Iterable[Row]:
        """Paths and contents."""

    def search(
        self, query: np.ndarray, *, top: int = TOP, exact: bool = False, kind: str | None = None
    ) -> list[Hit]:
        """As :meth:`Index.search <espnet_plugin.search.index.Index.search>`, among images; it is
        approximate if the store is, and does not look whether the files are there."""
        if exact:
            raise ValueError(f"--exact is not for {self.name}, which searches as it is set")
        if not self.dim or kind == "recording":
            return []
        query = unit_query(query, self.dim, self.name)[0]
        with store_errors(self.name):
            found = list(self._near(query, max(CANDIDATES, WIDEN * top)))
            if not found:
                return []
            names = list(dict.fromkeys(name for row in found for name in row))
            path, vector = column(PATHS, names), column(VECTORS, names)
            named = [row for row in found if row.get(path)]
            paths = [os.fsdecode(row[path]) for row in named]
            vectors = np.array([row[vector] for row in named], np.float32).reshape(-1, self.dim)
        lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-30)
        if not self.ranks_by_cosine and (abs(lengths - 1) > UNIT).any():
            logging.warning(f"{self.name} can miss near images: it does not rank by cosine, and "
                            "its vectors are not of unit length")  # fmt: skip
        scored = zip(paths, (vectors @ query / lengths).tolist(), strict=True)
        hits = [Hit(path, score) for path, score in scored if math.isfinite(score)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.path))[:top]

    def counts(self) -> tuple[int | None, int, int, float]:
        """As :meth:`Index.counts`, of an unknown number of images."""
        return None, 0, 0, 0.0

    def add(self, paths: Sequence[str], vectors: np.ndarray, contents: Sequence[str] = ()) -> None:
        """Adds images, or replaces them; they are stored when this returns.

        Args:
            paths: Names of the images.
            vectors: (paths, dim), of any length but zero.
            contents: SHA-256 of the files.

        Raises:
            DataError: If the store does not take them.
        """
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if self.dim not in (0, vectors.shape[1]) or not (lengths > 0).all():
            raise DataError(f"{self.name} takes vectors of {self.dim or 'some'} numbers, not zero")
        unit = (vectors / lengths).astype(np.float32)
        columns = zip(paths, contents or [""] * len(paths), unit, strict=True)
        rows = {path: {"path": path, "content": content, "vector": row}
                for path, content, row in columns}  # fmt: skip
        with self._writing():
            for block in batched(rows, BLOCK):
                self._change(block, [rows[path] for path in block])

    def remove(self, paths: Iterable[str]) -> None:
        """Removes images; raises DataError if the store is not written."""
        with self._writing():
            for block in batched(paths if self.dim else (), BLOCK):
                self._change(block, [])

    def copy(self, files: Iterable[Embedded], folders: Sequence[str] = ()) -> tuple[int, int]:
        """Adds new and changed images and removes others below folders; returns how many."""
        with self._writing():
            known = {row["path"]: row["content"] for row in (self._files() if self.dim else ())}
        gone = {path for path in known if any(Path(path).is_relative_to(each) for each in folders)}
        added = left_out = 0
        for block in batched(files, BLOCK):
            images = {
                path: (content.hex(), vectors[0])
                for path, content, (vectors, (window, *_)) in block
                if window.start is None
            }
            odd = {path for path in images if path.encode(errors="ignore").decode() != path}
            left_out += len(odd)
            gone -= images.keys()
            new = {path: it for path, it in images.items()
                   if path not in odd and known.get(path) != it[0]}  # fmt: skip
            if new:
                contents, vectors = zip(*new.values(), strict=True)
                self.add(list(new), np.array(vectors), contents)
            added += len(new)
        self.remove(gone)
        if left_out:
            logging.warning(f"{left_out:,} images are left out: {self.name} only takes paths in "
                            "UTF-8; rename them")  # fmt: skip
        return added, len(gone)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        if not self.writable:
            raise DataError(f"{self.name} was not made by speechclip index, so it is only searched")
        with store_errors(self.name):
            yield

    def model_at_hand(self, name: str | None) -> IndexedModel:
        """The model of that name; raises an error unless the store is of its CLIP."""
        if not name:
            raise ValueError(f"{self.name} fits all models with its CLIP; add --model")
        model = identify_model(name)
        self.check_clip(clip_of(model.name))
        return model

    def check_clip(self, clip: str) -> None:
        """Raises an error unless the store is of a CLIP."""
        if not self.clip:
            raise ValueError(f"{self.name} does not say whose CLIP made it; --clip {clip} does")
        if canonical_clip(self.clip) != canonical_clip(clip):
            raise DataError(f"{self.name} is of the CLIP {self.clip}, not of {clip}; scores would "
                            "mean nothing")  # fmt: skip


def column(known: Sequence[str], names: Iterable[str]) -> str:
    """The first of known names; raises DataError if there is none."""
    there = list(names)
    for name in known:
        if name in there:
            return name
    raise DataError(
        f"none of {', '.join(there)} is a column of the {known[0]}s: {', '.join(known)}"
    )


@contextlib.contextmanager
def store_errors(name: str) -> Iterator[None]:
    """Says which store failed; each library has errors of its own."""
    try:
        yield
    except (ImportError, MemoryError, OSError):
        raise
    except Exception as error:
        text = " ".join(str(error).split()) or repr(error)
        raise DataError(text if text.startswith(name) else f"{name}: {text}") from error


def canonical_clip(name: str) -> str:
    """One spelling of a CLIP's name, without its activation; raises ValueError without weights."""
    name = re.sub(r"^(vit-\w)/(\d+)(?:@(\d+)px)?$", r"\1-\2-\3/openai", name.lower())
    model, _, weights = name.partition("/")  # OpenAI's ViT-B/32 is as open_clip writes it now
    if not weights:
        raise ValueError(f"{name}: name a CLIP with its weights, as in ViT-B-32/openai")
    return f"{model.rstrip('-').removesuffix('-quickgelu')}/{weights}"


def only(names: Sequence[str]) -> str:
    """The only name; raises DataError if there are others, and one must be given."""
    if len(names) != 1:
        raise DataError(f"has {', '.join(names) or 'nothing'}; write …#NAME")
    return names[0]
