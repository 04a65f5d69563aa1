"""Reading a checkpoint that holds more than tensors, without executing anything in it.

A Lightning checkpoint is a zip archive with one pickle and the raw tensors. A pickle names the
functions that rebuild its objects, so reading one with Python's own machinery runs whatever it
names. Here nothing is ever imported by name: tensors and containers are rebuilt by this module's
own functions, the original's configuration class becomes a mapping, objects of a few libraries
(loggers, callbacks) become inert stubs, and any other name is refused.
"""

from __future__ import annotations

import _compat_pickle
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_plugin.speechclip.convert.archive import DamagedCheckpointError, TensorArchive

CONFIG_CLASS = ("ordered_namespace", "OrderedNamespace")
# Objects of these say nothing about the model: loggers, callbacks, command lines. They are never
# imported.
INERT_PACKAGES = (
    "avssl",
    "lightning",
    "lightning_fabric",
    "pytorch_lightning",
    "torchmetrics",
    "wandb",
)
# (package, class); in which of its modules a package keeps a class changes with its version.
INERT_CLASSES = {
    ("argparse", "Namespace"),
    ("datetime", "datetime"),
    ("numpy", "_reconstruct"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy", "scalar"),
    ("pathlib", "Path"),
    ("pathlib", "PosixPath"),
    ("pathlib", "PurePosixPath"),
    ("pathlib", "WindowsPath"),
}
_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "UntypedStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_BUILTINS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        bool,
        bytearray,
        bytes,
        complex,
        dict,
        float,
        frozenset,
        int,
        list,
        set,
        str,
        tuple,
    )
}


class RefusedPickleError(ValueError):
    """A pickle names something that is not admitted."""


@dataclass(frozen=True)
class Unpickled:
    """What a checkpoint holds.

    Attributes:
        content: Of the pickle; its tensors are mapped from the file.
        stubs: Full names of the classes whose objects became inert stubs, sorted.
    """

    content: Any
    stubs: tuple[str, ...]


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
    """Stands for an object that is not wanted; swallows whatever the pickle does to it."""

    name = "?"

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Stub:
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None: ...

    def extend(self, items: Any) -> None: ...

    def add(self, item: Any) -> None: ...

    def __repr__(self) -> str:
        return f"<stub of {self.name}>"


def read_pickled_checkpoint(path: str | Path) -> Unpickled:
    """Reads a checkpoint in PyTorch's zip format; executes nothing in it.

    Args:
        path: File as ``torch.save`` and Lightning write it since PyTorch 1.6.

    Raises:
        FileNotFoundError: If there is no such file.
        RefusedPickleError: If the pickle names a function or class that is not admitted; the
            message says which.
        ValueError: If the file is truncated or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path}: no such file")
    try:
        archive = TensorArchive(path)
        unpickler = _Unpickler(archive)
        return Unpickled(unpickler.load(), tuple(sorted(unpickler.stubs)))
    except RefusedPickleError as error:
        raise RefusedPickleError(f"{path}: {error}") from None
    except DamagedCheckpointError as error:
        raise ValueError(f"{path}: {error}") from None
    except (
        AttributeError,
        EOFError,
        ImportError,
        IndexError,
        KeyError,
        MemoryError,
        OSError,
        OverflowError,
        pickle.UnpicklingError,
        RecursionError,
        RuntimeError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path}: damaged checkpoint, its pickle cannot be read ({reason})"
        ) from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: TensorArchive) -> None:
        super().__init__(archive.pickle)
        self._archive = archive
        self._storages: dict[tuple[str, torch.dtype], Tensor] = {}
        self.stubs: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        # Protocols 0 to 2 use Python 2's names.
        renamed = (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
        module, name = _compat_pickle.NAME_MAPPING.get((module, name), renamed)
        if name == CONFIG_CLASS[1] and module.rsplit(".", 1)[-1] == CONFIG_CLASS[0]:
            return type("PlainMapping", (PlainMapping,), {})
        if module == "collections" and name == "OrderedDict":
            return OrderedDict
        if module == "builtins" and name in _BUILTINS:
            return _BUILTINS[name]
        if (module, name) == ("_codecs", "encode"):
            return _fresh(_encode)
        if module == "torch._utils" and name in _REBUILDERS:
            return _fresh(_REBUILDERS[name])
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _StorageType(_STORAGES[name])
        if module == "torch" and name in ("Size", "device"):
            return getattr(torch, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        full_name, package = f"{module}.{name}", module.split(".")[0]
        if package in INERT_PACKAGES or (package, name) in INERT_CLASSES:
            if name == "AttributeDict":  # how Lightning keeps hyper-parameters
                return type("PlainMapping", (PlainMapping,), {})
            self.stubs.add(full_name)
            return type("Stub", (Stub,), {"name": full_name})
        raise RefusedPickleError(
            f"refuses to unpickle {full_name}: a checkpoint of SpeechCLIP needs tensors, "
            "containers and its configuration only. Nothing of the file was executed"
        )

    def persistent_load(self, pid: Any) -> Tensor:
        if not (
            isinstance(pid, tuple)
            and len(pid) == 5
            and pid[0] == "storage"
            and isinstance(pid[1], _StorageType)
            and isinstance(pid[2], str)
            and isinstance(pid[4], int)
        ):
            raise RefusedPickleError(f"refuses to unpickle the persistent object {str(pid)[:80]!r}")
        _, kind, key, _device, numel = pid
        if (key, kind.dtype) not in self._storages:
            self._storages[key, kind.dtype] = self._archive.storage(key, kind.dtype, numel)
        return self._storages[key, kind.dtype]


@dataclass(frozen=True)
class _StorageType:
    dtype: torch.dtype


def _rebuild_tensor(
    storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_rest: Any
) -> Tensor:
    """A view of a record; checks its bounds."""
    if (
        not isinstance(storage, Tensor)
        or len(size) != len(stride)
        or min((offset, *size, *stride)) < 0
    ):
        raise DamagedCheckpointError(
            "damaged checkpoint: a tensor without elements, sizes or strides"
        )
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) and last >= storage.numel():
        raise DamagedCheckpointError("damaged checkpoint: a tensor is larger than its record")
    # as_strided counts from the start of the mapped file, a record from its own start.
    return torch.as_strided(storage, tuple(size), tuple(stride), storage.storage_offset() + offset)


def _rebuild_parameter(data: Tensor, *_rest: Any) -> Tensor:
    return data


_REBUILDERS: dict[str, Callable[..., Tensor]] = {
    "_rebuild_tensor": _rebuild_tensor,
    "_rebuild_tensor_v2": _rebuild_tensor,
    "_rebuild_parameter": _rebuild_parameter,
}


def _encode(text: Any, encoding: Any) -> bytes:
    """How protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedPickleError(f"refuses to encode {type(text).__name__} as {encoding!r}")
    return text.encode("latin1")


def _fresh(function: Callable[..., Any]) -> Callable[..., Any]:
    """A new function object: what a pickle may set on it goes away with it."""

    def rebuild(*args: Any) -> Any:
        return function(*args)

    return rebuild
