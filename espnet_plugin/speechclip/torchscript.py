"""Tensors out of a TorchScript file, without running its code.

OpenAI publishes CLIP as TorchScript archives: a zip file with the program, a pickle of the module
tree and the raw tensors. Without the program the archive is one that ``torch.load`` reads with its
own list of what may be unpickled; the tree's classes become inert stand-ins.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from torch import Tensor

from espnet_plugin.speechclip.weights import named_like, read_pickle

_RECORDS = ("data.pkl", "data", "version", "byteorder")
# The program's classes; and what wraps typed lists and the like, which hold no tensors of a tower.
_INERT = ("__torch__", "torch.jit._pickle.")


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.split("/")[1:2] == ["code"] for name in archive.namelist())


def read_torchscript_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a TorchScript file's modules, under their dotted names.

    Those are its parameters and buffers, and buffers that a state dict would not hold.

    Raises:
        ValueError: If it is truncated, or its pickle holds anything but modules, tensors and
            numbers.
    """
    with tempfile.TemporaryFile() as without_program:  # has no name, so no kill leaves it behind
        with zipfile.ZipFile(path) as script, zipfile.ZipFile(without_program, "w") as archive:
            for entry in script.infolist():
                name = entry.filename
                if name.partition("/")[2].partition("/")[0] in _RECORDS:
                    if entry.compress_type != zipfile.ZIP_STORED:  # a few bytes may become many
                        raise ValueError(f"{path}: {name} is compressed, as PyTorch writes nothing")
                    with script.open(name) as source, archive.open(name, "w") as target:
                        shutil.copyfileobj(source, target)
        without_program.flush()
        file = Path(f"/dev/fd/{without_program.fileno()}")
        tree = read_pickle(file, path, stand_in=_stand_in)
    tensors: dict[str, Tensor] = {}
    _collect(tree, "", tensors)
    return tensors


class _StandIn:
    """Stands for any class or function of the archive; keeps the attributes that it is given."""

    def __new__(cls, *_arguments: Any) -> _StandIn:
        return super().__new__(cls)

    def __init__(self, *_arguments: Any) -> None: ...


def _stand_in(name: str) -> type | None:
    return named_like(name, _StandIn) if name.startswith(_INERT) else None


def _collect(node: _StandIn, prefix: str, tensors: dict[str, Tensor]) -> None:
    for name, value in vars(node).items():
        if isinstance(value, Tensor):
            tensors[prefix + name] = value
        elif isinstance(value, _StandIn):
            _collect(value, f"{prefix}{name}.", tensors)
