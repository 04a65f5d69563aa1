"""What all stores share: exact cosines, and whose CLIP made the vectors."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.index import TOP, WIDEN, Hit, unit_query
from espnet_plugin.search.model import IndexedModel, clip_of, identify_model

# how others call their columns
PATHS = ("path", "image_path", "filepath", "file_path", "filename", "file", "uri", "url")
VECTORS = ("vector", "embedding", "embeddings", "image_embedding", "clip_embedding", "emb")
CANDIDATES = 100
UNIT = 0.3  # compressed unit vectors are shorter or longer by less
Row = dict[str, Any]  # by the columns of the store: a path, a vector and others


class Store(ABC):
    """An index of images in another format, as ``open_index`` opens it."""

    dim, ranks_by_cosine, clip = 0, True, ""

    def __init__(self, name: str, place: str, table: str, clip: str) -> None:
        self.name, self.place, self.table = name, place, table
        self._open()
        self.clip = self.clip or clip
        if clip:
            self.check_clip(clip)

    @abstractmethod
    def _open(self) -> None:
        """Opens what is there, and sets ``dim``, which is 0 if there is nothing."""

    @abstractmethod
    def _near(self, query: np.ndarray, number: int) -> Iterable[Row]:
        """About as many of the nearest."""

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
            path, vector = column(PATHS, found[0]), column(VECTORS, found[0])
            paths = [os.fsdecode(row[path]) for row in found]
            vectors = np.array([row[vector] for row in found], np.float32)
        lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-30)
        if not self.ranks_by_cosine and (abs(lengths - 1) > UNIT).any():
            logging.warning(f"{self.name} can miss near images: it does not rank by cosine, and "
                            "its vectors are not of unit length")  # fmt: skip
        scores = (vectors @ query / lengths).tolist()
        hits = [Hit(path, score) for path, score in zip(paths, scores, strict=True)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.path))[:top]

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
