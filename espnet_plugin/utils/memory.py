"""Turn out-of-memory errors into one message."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

_NAMED = 5
# on a CPU PyTorch raises a plain RuntimeError
_FULL = re.compile("out of memory|allocate memory|not enough memory")


@contextlib.contextmanager
def memory_errors(items: Sequence[str], *, remedy: str) -> Iterator[None]:
    """Names the items that filled the memory, of the computer or of a GPU.

    Args:
        items: Names of the items that one computation works on.
        remedy: What the message advises.

    Raises:
        MemoryError: If the memory is full; its message is one sentence.
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
