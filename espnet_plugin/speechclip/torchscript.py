"""Tensors out of a TorchScript file, without running its code or its pickle.

OpenAI publishes CLIP as TorchScript archives: a zip file with the program, a pickle of the module
tree and the raw tensors. Only the tree is read here, by an unpickler that turns every class into
an inert stand-in and knows no function but the one that describes a tensor.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_STORAGE_DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}


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
        pickle.UnpicklingError: if its pickle holds anything but modules, tensors and numbers.
    """
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        with archive.open(root) as file:
            tree = _Unpickler(file, archive, root.removesuffix("data.pkl")).load()
    tensors: dict[str, Tensor] = {}
    _collect(tree, "", tensors)
    return tensors


class _Module:
    """Stands for any class of the archive; keeps the attributes that it is given."""

    def __setstate__(self, state: Any) -> None:
        self.attributes = state if isinstance(state, dict) else {}


class _StorageType:
    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


def _rebuild_tensor(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: Any
) -> Tensor:
    return torch.as_strided(storage, tuple(size), tuple(stride), offset).clone()


def _inert(*_arguments: Any, **_options: Any) -> None:
    return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, archive: zipfile.ZipFile, prefix: str) -> None:
        super().__init__(file)
        self._archive = archive
        self._prefix = prefix
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return type(name, (_Module,), {})
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _STORAGE_DTYPES:
            return _StorageType(_STORAGE_DTYPES[name])
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch.jit._pickle":  # typed lists and the like: no tensors of a tower
            return _inert
        raise pickle.UnpicklingError(f"it refers to {module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        kind, storage_type, key, _device, numel = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise pickle.UnpicklingError(f"it refers to a {kind!r}")
        if key not in self._storages:
            raw = bytearray(self._archive.read(f"{self._prefix}data/{key}"))
            self._storages[key] = torch.frombuffer(raw, dtype=storage_type.dtype)[:numel]
        return self._storages[key]


def _collect(node: Any, prefix: str, tensors: dict[str, Tensor]) -> None:
    for name, value in getattr(node, "attributes", {}).items():
        if isinstance(value, Tensor):
            tensors[prefix + name] = value
        elif isinstance(value, _Module):
            _collect(value, f"{prefix}{name}.", tensors)
