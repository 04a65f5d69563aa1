from __future__ import annotations

import pytest
import torch

from espnet_plugin.utils.memory import memory_errors


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 57. GiB"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_what_was_computed_is_named(error: Exception) -> None:
    items = list("abcdefg")
    with (
        pytest.raises(MemoryError, match="hold a, b, c, d, e and 2 more at once; take fewer$"),
        memory_errors(items, remedy="take fewer"),
    ):
        raise error


@pytest.mark.parametrize("text", ["shape mismatch", "workers are out of shared memory"])
def test_other_errors_go_on(text: str) -> None:
    with pytest.raises(RuntimeError, match=text), memory_errors(["a"], remedy=""):
        raise RuntimeError(text)
