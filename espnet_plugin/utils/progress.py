"""Show progress: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from humanfriendly import format_timespan

Item = TypeVar("Item")


def progress(
    items: Iterable[Item],
    *,
    description: str,
    total: int | None = None,
    unit: str = "it",
    log_every: float = 30.0,
) -> Iterator[Item]:
    """Iterates over ``items`` and shows the progress.

    On a terminal this is a tqdm bar on stderr. Elsewhere lines are logged: after one second, then
    at intervals that double up to ``log_every``.

    Args:
        items: What to iterate over.
        description: What is being done, e.g. ``"image embeddings"``.
        total: Number of items, when ``items`` has no length.
        unit: Name of one item.
        log_every: Longest time between logged lines, in seconds.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        from tqdm import tqdm

        # leave=None: a bar inside another one disappears when it is full
        yield from tqdm(
            items, desc=description, total=total, unit=unit, dynamic_ncols=True, leave=None
        )
        return
    of = f"/{total:,}" if total else ""
    started = last = time.monotonic()
    interval = min(1.0, log_every)
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= interval:
            last, interval = now, min(2 * interval, log_every)
            spent = format_timespan(round(now - started), max_units=2)
            logging.info(f"{description}: {count:,}{of} {unit} after {spent}")
