"""Batches of items of similar length, and the loop that reads and encodes batches."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from torch.utils.data import DataLoader, Dataset

from espnet_plugin.utils.memory import memory_errors
from espnet_plugin.utils.progress import progress

Key = TypeVar("Key", int, str)
Result = TypeVar("Result")


def batches_by_length(
    lengths: Mapping[Key, float], most: float, *, batch_size: int = sys.maxsize
) -> list[list[Key]]:
    """Groups items to batches of similar length, the longest first: a full memory shows at once.

    Args:
        lengths: Length of each item.
        most: Largest length of a batch with padding; a longer item is a batch of its own.
        batch_size: Largest number of items of a batch.
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


def encode_batches(
    items: Dataset,
    batches: Sequence[Sequence[str]],
    encode: Callable[[list[Any]], Iterable[Result]],
    *,
    unreadable: dict[str, str],
    num_workers: int = 0,
    description: str,
    remedy: str,
) -> Iterator[dict[str, Result]]:
    """Reads and encodes batches of items; yields the results of each batch, by id.

    Args:
        items: Dataset that gives id and content, or id and error, for an id.
        batches: Ids of the items that are computed together.
        encode: Function that encodes a batch, with a result for each content.
        unreadable: Gets id and reason of the unreadable items, which are skipped with a warning.
        num_workers: Number of processes that read.
        description: What the progress says is being done.
        remedy: What the error advises if a batch does not fit into memory.

    Raises:
        MemoryError: If a batch does not fit into memory; its items are named.
    """
    loader: DataLoader = DataLoader(
        items, batch_sampler=batches, num_workers=num_workers, collate_fn=list
    )
    for batch in progress(loader, description=description, unit="batch"):
        good = {}
        for key, content in batch:
            if isinstance(content, ValueError):
                unreadable[key] = str(content)
                logging.warning(f"skipped {key}: {content}")
            else:
                good[key] = content
        if good:
            with memory_errors(list(good), remedy=remedy):
                results = list(encode(list(good.values())))
            yield dict(zip(good, results, strict=True))
