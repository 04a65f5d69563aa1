"""Runs a frozen encoder over files and stores the arrays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from espnet_plugin.data.array_store import ArrayStore
from espnet_plugin.inference.batches import encode_batches


class ReadFiles(Dataset):
    """Gives id and content of each file, or the error instead of content that cannot be read."""

    def __init__(self, files: Mapping[str, str], read: Callable[[str], Any]) -> None:
        self.files = files
        self.read = read

    def __getitem__(self, key: str) -> tuple[str, Any]:
        try:
            return key, self.read(self.files[key])
        except (OSError, RuntimeError, ValueError, SyntaxError) as error:  # PIL's, libsndfile's
            reason, file = " ".join(str(error).split()), self.files[key]
            return key, ValueError(reason if reason.startswith(file) else f"{file}: {reason}")


def dump_arrays(
    files: Mapping[str, str],
    store: ArrayStore,
    *,
    batches: Sequence[Sequence[str]],
    read: Callable[[str], Any],
    encode: Callable[[list[Any]], Iterable[Any]],
    num_workers: int = 0,
    what: str,
    smaller: str,
) -> dict[str, str]:
    """Stores the arrays of files.

    Args:
        files: Path of each id's file.
        store: Store that the arrays go to.
        batches: Ids that are computed together, without those that have an array.
        read: Function that reads a file for ``encode``; it may raise the errors of libraries.
        encode: Function that encodes a batch, to an array each, or to several by name.
        num_workers: Number of processes that read.
        what: Name that messages give the files, a plural.
        smaller: Name of the option for smaller batches.

    Returns:
        The reason for each id whose file was unreadable and skipped.

    Raises:
        MemoryError: If a batch does not fit into memory; the message names its files.
    """
    todo = sum(map(len, batches))
    done = len(files) - todo
    logging.info(f"{what} to embed: {todo:,}" + (f", embedded before: {done:,}" if done else ""))
    unreadable: dict[str, str] = {}
    for arrays in encode_batches(
        ReadFiles(files, read),
        batches,
        encode,
        unreadable=unreadable,
        num_workers=num_workers,
        description=f"{what} embedded",
        remedy=f"give a smaller {smaller}",
    ):
        for key in [key for key, array in arrays.items() if not _is_finite(array)]:
            del arrays[key]
            unreadable[key] = f"{files[key]}: its array is not finite"
            logging.warning(f"skipped {key}: {unreadable[key]}")
        store.save(arrays)
    return unreadable


def _is_finite(value: np.ndarray | Mapping[str, np.ndarray]) -> bool:
    arrays = value.values() if isinstance(value, Mapping) else [value]
    return all(np.isfinite(array).all() for array in arrays if array.dtype.kind == "f")
