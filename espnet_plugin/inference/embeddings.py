"""Items of any kind as rows: in batches, those that cannot be used named or left out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from espnet_plugin.data.scp import DataError
from espnet_plugin.utils.progress import progress

OnError = Literal["raise", "skip"]


class Embeddings(np.ndarray):
    """Rows of unit length, float32, (items, dim): an array that knows where its rows come from.

    What is computed or cut from it is a plain array.

    Attributes:
        kept: Position of each row's item among those given, ascending.
        skipped: Position of each item that ``on_error="skip"`` left out, and why.
    """

    kept: list[int]
    skipped: dict[int, str]

    @classmethod
    def of(
        cls, rows: np.ndarray, *, kept: Iterable[int], skipped: dict[int, str] | None = None
    ) -> Embeddings:
        """Rows (items, dim) and where they come from."""
        embeddings = np.asarray(rows, dtype=np.float32).view(cls)
        embeddings.kept, embeddings.skipped = list(kept), skipped or {}
        return embeddings

    def __array_finalize__(self, source: np.ndarray | None) -> None:
        self.kept = getattr(source, "kept", [])
        self.skipped = getattr(source, "skipped", {})

    def __array_wrap__(self, array: np.ndarray, *_: Any) -> Any:
        return np.asarray(array)[()]

    def __getitem__(self, index: Any) -> Any:
        return np.asarray(self)[index]

    def __reduce__(self) -> tuple[Any, ...]:  # pickle
        return _restored, (np.asarray(self), self.kept, self.skipped)

    def torch(self, device: str | torch.device = "cpu") -> Tensor:
        """The rows as a tensor."""
        return torch.from_numpy(np.array(self)).to(device)


def _restored(rows: np.ndarray, kept: list[int], skipped: dict[int, str]) -> Embeddings:
    return Embeddings.of(rows, kept=kept, skipped=skipped)


def items_of(given: Any) -> list[Any]:
    """What was given as a list: one item, or many."""
    alone = isinstance(given, str | Path | np.ndarray | Tensor) or not isinstance(given, Iterable)
    return [given] if alone else list(given)


def embed_items(
    items: Sequence[Any],
    *,
    batches: Sequence[Sequence[int]],
    read: Callable[[Any], Any],
    encode: Callable[[list[Any]], Iterable[np.ndarray]],
    dim: int,
    on_error: OnError,
    what: str,
) -> Embeddings:
    """Rows of the items that can be read, in their order."""
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error {on_error!r}: it is raise or skip")
    rows: dict[int, np.ndarray] = {}
    skipped: dict[int, str] = {}
    steps = progress(batches, description=what, unit="batch") if len(batches) > 1 else batches
    for batch in steps:
        good = {}
        for position in batch:
            try:
                good[position] = read(items[position])
            except (OSError, RuntimeError, TypeError, ValueError) as error:
                reason = str(error)
                if not isinstance(items[position], str | Path):
                    reason = f"item {position}: {reason}"
                if on_error == "raise":
                    kind = TypeError if isinstance(error, TypeError) else DataError
                    raise kind(reason) from error
                logging.warning(f"left out: {reason}")
                skipped[position] = reason
        if good:
            rows.update(zip(good, encode(list(good.values())), strict=True))
    kept = sorted(rows)
    found = np.stack([rows[position] for position in kept]) if kept else np.zeros((0, dim))
    return Embeddings.of(found, kept=kept, skipped=dict(sorted(skipped.items())))
