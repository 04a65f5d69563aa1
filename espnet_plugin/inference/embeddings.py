"""Items of any kind as rows: in batches, unusable items named or left out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from espnet_plugin.data.scp import DataError
from espnet_plugin.utils.progress import progress


def items_of(given: Any) -> list[Any]:
    """What was given as a list: one item, or many."""
    one = isinstance(given, str | bytes | dict | np.ndarray | Tensor)
    return [given] if one or not isinstance(given, Iterable) else list(given)


def embed_items(
    items: Sequence[Any],
    *,
    batches: Sequence[Sequence[int]],
    read: Callable[[Any], Any],
    encode: Callable[[list[Any]], Iterable[np.ndarray]],
    dim: int,
    skipped: dict[int, str] | None,
    what: str,
) -> np.ndarray:
    """Rows of the items that can be read, in their order, float32, (items, dim).

    Args:
        items: Files, arrays and the like.
        batches: Positions of the items that are computed together.
        read: Turns an item into what ``encode`` takes.
        encode: Embeds a batch, a row (dim,) each.
        dim: Length of a row.
        skipped: Gets position and reason of each unusable item; None: the first one raises.
        what: Name of the items for messages, a plural.
    """
    rows: dict[int, np.ndarray] = {}
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
                if skipped is None:
                    kind = TypeError if isinstance(error, TypeError) else DataError
                    raise kind(reason) from error
                logging.warning(f"left out: {reason}")
                skipped[position] = reason
        if good:
            rows.update(zip(good, encode(list(good.values())), strict=True))
    found = [rows[position] for position in sorted(rows)]
    return np.asarray(found, dtype=np.float32).reshape(-1, dim)
