"""Read a checkpoint that holds more than tensors, without executing anything in it.

A Lightning checkpoint is a zip archive with one pickle and the raw tensors. Python's own reader
runs every function that a pickle names. Here PyTorch's weights-only reader rebuilds it, and only if
every name in it is admitted. Admitted is what tensors and containers need. The original's
configuration class becomes a mapping; classes of a few libraries (loggers, callbacks) become inert
stubs.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_plugin.teachers.weights import read_pickle

CONFIG_CLASS = "ordered_namespace.OrderedNamespace"
# Objects that do not describe the model, such as loggers and callbacks. They are never imported.
# The module of a class depends on the version of its package.
INERT = re.compile(
    r"(?:avssl|lightning|lightning_fabric|pytorch_lightning|torchmetrics|wandb)\..+"
    r"|argparse\.Namespace|datetime\.datetime"
    r"|numpy\.(?:.+\.)?(?:_reconstruct|dtype|ndarray|scalar)"
    r"|pathlib\.(?:.+\.)?(?:Path|PosixPath|PurePosixPath|WindowsPath)"
)


class PlainMapping(dict):
    """The original's configuration: its entries, and nothing of its class."""

    def __setstate__(self, state: Any) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, Mapping):
                inner = next(iter(part.values())) if len(part) == 1 else None
                if isinstance(inner, Mapping) and str(next(iter(part))).startswith("_"):
                    part = inner  # a class may keep its entries in one field
                self.update(part)


class Stub:
    """Takes the place of an object that is not needed."""

    def __init__(self, *_args: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def read_pickled_checkpoint(path: str | Path) -> tuple[Any, list[str]]:
    """Reads a checkpoint; executes nothing in it.

    Args:
        path: Path of a file as ``torch.save`` and Lightning write it.

    Returns:
        The file's content, with tensors that are mapped from the file, and the sorted full names of
        the classes whose objects became inert stubs.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is truncated or of another format, or if its pickle names a
            function or class that is not admitted; the message says which.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"checkpoint {path}: a folder, not a file")
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path}: no such file")
    stubs = set()

    def stand_in(name: str) -> type | None:
        if f".{name}".endswith(f".{CONFIG_CLASS}"):
            return PlainMapping
        if not INERT.fullmatch(name):
            return None
        if name.endswith(".AttributeDict"):  # Lightning's dictionary of hyper-parameters
            return OrderedDict  # PyTorch's reader fills its own kinds only
        stubs.add(name)
        return Stub

    content = read_pickle(path, stand_in=stand_in)
    return content, sorted(stubs)
