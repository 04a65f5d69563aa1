"""Batches of items of similar length."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TypeVar

Key = TypeVar("Key", int, str)


def batches_by_length(
    lengths: Mapping[Key, float], most: float, *, batch_size: int = sys.maxsize
) -> list[list[Key]]:
    """Batches of similar length, the longest first: a full memory shows at once.

    Args:
        lengths: Length of each item.
        most: Length of a batch with padding; a longer item is a batch of its own.
        batch_size: Most items of a batch.
    """
    batches: list[list[Key]] = []
    for key in sorted(lengths, key=lambda key: (-lengths[key], key)):
        longest = lengths[batches[-1][0]] if batches else 0
        number = len(batches[-1]) + 1 if batches else 1
        if batches and number * longest <= most and number <= batch_size:
            batches[-1].append(key)
        else:
            batches.append([key])
    return batches
