"""Show progress: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from humanfriendly import format_timespan

Item = TypeVar("Item")
FIRST_ESTIMATE = 3  # items; the first takes longer, because it loads what the others use


def counted(number: int, unit: str) -> str:
    """A number and the unit that it counts, in the singular or the plural.

    >>> counted(1, "batch"), counted(1024, "batch"), counted(20, "epoch")
    ('1 batch', '1,024 batches', '20 epochs')
    """
    return f"{number:,} {unit if number == 1 else _plural(unit)}"


def _plural(unit: str) -> str:
    if unit == "MiB":
        return unit
    return unit + ("es" if unit.endswith("ch") and unit != "epoch" else "s")


def progress(
    items: Iterable[Item],
    *,
    description: str,
    total: int | None = None,
    unit: str = "item",
    log_every: float = 30.0,
) -> Iterator[Item]:
    """Iterates over ``items`` and shows the progress.

    On a terminal this is a tqdm bar on stderr. Elsewhere lines are logged: after one second, then
    at intervals that double up to ``log_every``. Both show the time left if the total is known, the
    lines from the third item on.

    Args:
        items: Items to iterate over.
        description: Name of what is being done, e.g. ``"image embeddings"``.
        total: Number of items, when ``items`` has no length.
        unit: Name of one item, in the singular.
        log_every: Longest time between logged lines, in seconds.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        from tqdm import tqdm

        # leave=None: a bar inside another one disappears when it is full
        yield from tqdm(
            items,
            desc=description,
            total=total,
            unit=f" {_plural(unit)}",
            dynamic_ncols=True,
            leave=None,
        )
        return
    started = last = time.monotonic()
    interval = min(1.0, log_every)
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= interval:
            last, interval = now, min(2 * interval, log_every)
            shown = f"{count:,}/{counted(total, unit)}" if total else counted(count, unit)
            shown += f" after {_time(now - started)}"
            if total and FIRST_ESTIMATE <= count < total:
                shown += f", about {_time((now - started) * (total - count) / count)} left"
            logging.info(f"{description}: {shown}")


def _time(seconds: float) -> str:
    return format_timespan(round(seconds), max_units=2)
