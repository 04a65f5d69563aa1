"""Reading a checkpoint that holds more than tensors, without executing anything in it.

A Lightning checkpoint is a zip archive with one pickle and the raw tensors. A pickle names the
functions that rebuild its objects, so reading one with Python's own machinery runs whatever it
names. Here PyTorch's weights-only reader rebuilds it, and only if every name in it is admitted:
what tensors and containers need, the original's configuration class, which becomes a mapping, and
classes of a few libraries (loggers, callbacks), which become inert stubs.
"""

from __future__ import annotations

import _compat_pickle
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from espnet_plugin.speechclip.hub import first_line

CONFIG_CLASS = "ordered_namespace.OrderedNamespace"
# Objects of these say nothing about the model: loggers, callbacks, command lines. They are never
# imported. In which of its modules a package keeps a class changes with its version.
INERT = re.compile(
    r"(?:avssl|lightning|lightning_fabric|pytorch_lightning|torchmetrics|wandb)\..+"
    r"|argparse\.Namespace|datetime\.datetime"
    r"|numpy\.(?:.+\.)?(?:_reconstruct|dtype|ndarray|scalar)"
    r"|pathlib\.(?:.+\.)?(?:Path|PosixPath|PurePosixPath|WindowsPath)"
)
# Less than PyTorch's reader admits: its sparse, quantized and nested tensors are not checked before
# they are used (CVE-2026-24747, mended in PyTorch 2.10).
TENSORS = re.compile(
    r"collections\.OrderedDict|_codecs\.encode"
    r"|torch\._utils\._rebuild_(?:tensor|tensor_v2|parameter)"
    r"|builtins\.(?:bytearray|complex|set)"
    r"|torch\.(?:\w+Storage|Size|device|bool|(?:bfloat|float|int|uint|complex)\d+)"
)
_BUILTINS: dict[str, type] = {
    f"builtins.{kind.__name__}": kind
    for kind in (bool, bytes, dict, float, frozenset, int, list, str, tuple)
}


class RefusedFileError(ValueError):
    """A file is no checkpoint, or its pickle names something that is not admitted."""


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


class ItemMapping:
    """Lightning's dictionary of hyper-parameters: PyTorch's reader fills its own kinds only."""

    def __new__(cls, *args: Any) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict(*args)


class Stub:
    """Stands for an object that is not wanted; swallows whatever the pickle does to it."""

    def __new__(cls, *_args: Any) -> Stub:
        return super().__new__(cls)

    def __init__(self, *_args: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def read_pickled_checkpoint(path: str | Path) -> Unpickled:
    """Reads a checkpoint in PyTorch's zip format; executes nothing in it.

    Args:
        path: File as ``torch.save`` and Lightning write it since PyTorch 1.6.

    Raises:
        FileNotFoundError: If there is no such file.
        RefusedFileError: If the file is truncated or of another format, or if its pickle names a
            function or class that is not admitted; the message says which.
        ValueError: If it is damaged in any other way.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path}: no such file")
    try:
        _check_archive(path)
        names = _names_in(path)
        stand_ins = {name: _stand_in(name) for name in names if not TENSORS.fullmatch(name)}
        _check_admitted(stand_ins, path)
        with torch.serialization.safe_globals([kind for kind in stand_ins.values() if kind]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RefusedFileError:
        raise
    except Exception as error:  # bytes that are not what they seem can fail in any way
        # PyTorch's own words to a pickle that it does not take advise to load the file unsafely.
        reason = "" if isinstance(error, pickle.UnpicklingError) else f" ({first_line(error)})"
        raise ValueError(
            f"{path}: damaged checkpoint, its pickle cannot be read{reason}"
        ) from error
    stubs = sorted(name for name, kind in stand_ins.items() if kind and issubclass(kind, Stub))
    return Unpickled(content, tuple(stubs))


def _check_archive(path: Path) -> None:
    """Refuses what PyTorch's zip format does not describe."""
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            raise RefusedFileError(f"{path}: {_why_no_archive(file.read(4))}")
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
    if "data.pkl" not in entries or "constants.pkl" in entries:
        raise RefusedFileError(
            f"{path}: a zip file, but no checkpoint: expected data.pkl and no TorchScript code"
        )
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise RefusedFileError(f"{path}: a compressed zip file; torch.save does not compress")


def _why_no_archive(start: bytes) -> str:
    if start.startswith(b"PK\x03\x04"):
        return "truncated file: the checkpoint's zip archive has no end; download or copy it again"
    if start.startswith(b"\x80"):
        return (
            "in the format of PyTorch before 1.6 (a bare pickle), which is not read. Released "
            "SpeechCLIP checkpoints are zip archives; where you trust the "
            "file, save it again with a newer PyTorch"
        )
    return "no checkpoint: expected a zip archive as torch.save writes it"


def _names_in(path: Path) -> set[str]:
    """Full names of all functions and classes that a checkpoint's pickle would import."""
    # With the reader that torch.load uses: no other pickle is loaded than the one looked through.
    pickled = torch._C.PyTorchFileReader(str(path)).get_record("data.pkl")
    names = set()
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.proto > 2:
            raise ValueError(f"{opcode.name} is none of protocol 2, which torch.save writes")
        if opcode.name in ("GLOBAL", "INST"):
            module, _, name = str(argument).partition(" ")
            # Protocols 0 to 2 use Python 2's names.
            renamed = (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
            names.add(".".join(_compat_pickle.NAME_MAPPING.get((module, name), renamed)))
    return names


def _stand_in(name: str) -> type | None:
    """What takes the place of a class that is no tensor's; None: nothing, it is refused."""
    module, _, short = name.rpartition(".")
    if f".{name}".endswith(f".{CONFIG_CLASS}"):
        kind: type = PlainMapping
    elif not INERT.fullmatch(name):
        return _BUILTINS.get(name)
    else:
        kind = ItemMapping if short == "AttributeDict" else Stub
    return type(short, (kind,), {"__module__": module, "__qualname__": short})


def _check_admitted(stand_ins: Mapping[str, type | None], path: Path) -> None:
    refused = sorted(name for name, kind in stand_ins.items() if kind is None)
    if refused:
        raise RefusedFileError(
            f"{path}: refuses to unpickle {', '.join(refused[:3])}: a checkpoint of SpeechCLIP "
            "needs tensors, containers and its configuration only. Nothing of the file was executed"
        )
