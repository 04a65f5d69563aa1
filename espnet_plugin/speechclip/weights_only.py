"""Other libraries' ``torch.load`` reads weights and nothing else."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

_FORCE, _NEVER = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_guard = threading.Lock()
_before: list[dict[str, str | None]] = []  # of each running block; the first knows what was set


@contextlib.contextmanager
def weights_only_loading() -> Iterator[None]:
    """Makes every ``torch.load`` of this process and its children weights-only, whatever it asks.

    By PyTorch's own variable, which reaches the libraries that ask for more. Of several threads the
    last one that leaves puts things back.
    """
    with _guard:
        if not _before:
            _before.append({name: os.environ.pop(name, None) for name in (_FORCE, _NEVER)})
            os.environ[_FORCE] = "1"
        else:
            _before.append({})
    try:
        yield
    finally:
        with _guard:
            if len(_before) > 1:
                _before.pop()
            else:
                for name, value in _before.pop().items():
                    os.environ.pop(name, None)
                    if value is not None:
                        os.environ[name] = value
