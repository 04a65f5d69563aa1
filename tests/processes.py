"""Two processes of one training, for tests of what ranks compute together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def run_ranks(function: Callable[..., Any], folder: Path, *arguments: Any) -> list[Any]:
    """Results of ``function(rank, *arguments)`` in two gloo processes, in rank order.

    Args:
        function: Of a module, because another process gets its name.
        folder: Where the processes meet.
        *arguments: What can be pickled.
    """
    results = torch.multiprocessing.Manager().dict()
    torch.multiprocessing.spawn(
        _run_rank, (str(folder / "init"), function, arguments, results), nprocs=2
    )
    return [results[rank] for rank in range(2)]


def _run_rank(
    rank: int, init_file: str, function: Callable[..., Any], arguments: Any, results: Any
) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{init_file}", rank=rank, world_size=2
    )
    results[rank] = function(rank, *arguments)
    torch.distributed.destroy_process_group()
