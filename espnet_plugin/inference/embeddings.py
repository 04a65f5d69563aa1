"""Embeds items of any kind in batches, and names or leaves out those that cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.progress import progress


def items_of(given: Any) -> list[Any]:
    """What was given, one item or many, as a list."""
    one = isinstance(given, str | bytes | Mapping | np.ndarray | Tensor)
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
    """Embeds the items that can be read, in their order, as float32 rows (items, dim).

    Args:
        items: Files, arrays and the like.
        batches: Positions of the items that are computed together.
        read: Function that turns an item into what ``encode`` takes.
        encode: Function that embeds a batch, with a row (dim,) for each item.
        dim: Length of a row.
        skipped: Gets position and reason of each unusable item. With None the first one raises.
        what: Name that messages give the items, a plural.
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
                    kind = type(error) if isinstance(error, TypeError | DataError) else DataError
                    raise kind(reason) from error
                logging.warning(f"left out: {reason}")
                skipped[position] = reason
        if good:
            rows.update(zip(good, encode(list(good.values())), strict=True))
    found = [rows[position] for position in sorted(rows)]
    return np.asarray(found, dtype=np.float32).reshape(-1, dim)
