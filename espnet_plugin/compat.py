"""The only place that knows which ESPnet version it runs under (202511 and 202611)."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

try:  # 202611 moved the old top-level package under espnet2.legacy
    from espnet2.legacy.utils.cli_utils import get_commandline_args
except ImportError:
    from espnet.utils.cli_utils import get_commandline_args

__all__ = [
    "espnet_version",
    "get_commandline_args",
    "imports_off_stdout",
    "load_checkpoint",
]


@contextlib.contextmanager
def imports_off_stdout() -> Iterator[None]:
    """Sends what is printed while importing to stderr.

    202511 prints a line about Flash Attention when its tasks are imported, which would be the
    first line of ``--print_config > train.yaml``.
    """
    with contextlib.redirect_stdout(sys.stderr):
        yield


def espnet_version() -> str:
    """Version of the installed ESPnet, e.g. ``"202511"``."""
    import espnet2

    return str(espnet2.__version__)


def load_checkpoint(path: str | Path, *, device: str = "cpu") -> dict:
    """Loads a checkpoint of tensors and plain Python values, never unpickling anything else.

    Args:
        path: A ``.pth`` file that ESPnet's trainer wrote.
        device: Where the tensors go.

    Raises:
        FileNotFoundError: When there is no such file.
        RuntimeError: When the file is no checkpoint or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No model file {path}: train first, or check the path.")
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises anything from EOFError to UnpicklingError here
        raise RuntimeError(
            f"{path} cannot be read as a checkpoint of tensors ({error}). "
            "It may be cut short: copy it again or take another epoch's file."
        ) from error
