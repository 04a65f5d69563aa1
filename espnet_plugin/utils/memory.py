"""A full memory, as one sentence."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

_NAMED = 5
# PyTorch's on a CPU is a plain RuntimeError
_FULL = re.compile("out of memory|allocate memory|not enough memory")


@contextlib.contextmanager
def memory_errors(items: Sequence[str], *, remedy: str) -> Iterator[None]:
    """Names what was computed when the memory, a GPU's too, was full.

    Args:
        items: What is computed at once; looked at when that fails.
        remedy: What to do.

    Raises:
        MemoryError: With a sentence.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _FULL.search(str(error)):
            raise
        named = ", ".join(items[:_NAMED])
        if len(items) > _NAMED:
            named += f" and {len(items) - _NAMED} more"
        raise MemoryError(f"the memory does not hold {named} at once; {remedy}") from error
