"""ESPnet's checkpoints, read without executing anything in them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet_plugin.speechclip.weights import read_pickle

_NUMPY_SCALAR = np.float64(0).__reduce__()[0]
# What the reporter of ESPnet 202511 puts beside tensors and plain values; none of it runs anything.
_STATISTICS: dict[str, Any] = {
    "datetime.timedelta": datetime.timedelta,
    "numpy.dtype": np.dtype,
    "numpy.core.multiarray.scalar": _NUMPY_SCALAR,
    "numpy._core.multiarray.scalar": _NUMPY_SCALAR,
}


def statistics_globals() -> torch.serialization.safe_globals:
    """Lets PyTorch's weights-only reader take the statistics of ``checkpoint.pth``, too."""
    kinds = (np.float64, np.float32, np.int64, np.bool_)
    named = [(value, name) for name, value in _STATISTICS.items()]
    return torch.serialization.safe_globals([*named, *(type(np.dtype(kind)) for kind in kinds)])


def read_checkpoint(path: str | Path) -> Any:
    """Content of ``<n>epoch.pth`` or ``checkpoint.pth``: tensors, plain values and statistics.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or holds anything else; nothing of it was executed.
    """
    path = Path(path)
    with statistics_globals():
        return read_pickle(path, path, stand_in=_STATISTICS.get)
