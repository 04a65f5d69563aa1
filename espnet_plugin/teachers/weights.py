"""Reads weights from files without executing anything in them, and checks that they fit a model."""

from __future__ import annotations

import _compat_pickle
import pickle
import pickletools
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_plugin.teachers.hub import first_line

# Less than PyTorch's reader admits: it uses sparse, quantized and nested tensors before it checks
# them (CVE-2026-24747, mended in PyTorch 2.10). Records that are too short are mended there, too; a
# mapped one cannot leave the file.
_TENSORS = re.compile(
    r"collections\.(?:OrderedDict|Counter)|_codecs\.encode|builtins\.(?:bytearray|complex|set)"
    r"|torch\._utils\._rebuild_(?:tensor|tensor_v2|parameter)"
    r"|torch\.(?:\w+Storage|Size|device|bool|(?:bfloat|float|int|uint|complex)\d+)"
)
# of a file of torch.save before 1.6: magic number, protocol, machine, content, keys of the storages
_PICKLES_BEFORE_1_6 = 5
_BUILTINS: dict[str, type] = {
    f"builtins.{kind.__name__}": kind
    for kind in (bool, bytes, dict, float, frozenset, int, list, str, tuple)
}


def read_safetensors(
    path: Path, wanted: Callable[[str], bool] = lambda key: True
) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` file, by name.

    Args:
        path: Path of the file.
        wanted: Says of a name whether to read it.

    Raises:
        ValueError: If it is another kind of file, or truncated.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys() if wanted(key)}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file, or truncated ({error})") from error


def read_pickle(path: Path, *, stand_in: Callable[[str], Any] = lambda name: None) -> Any:
    """Content of a file that ``torch.save`` wrote: tensors and plain Python values.

    Args:
        path: The file, which is mapped into memory if its format allows that.
        stand_in: Maps a class's full name to its replacement or None; nothing is imported by name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is truncated, or holds anything else; the message names it.
    """
    refused: list[str] = []
    try:
        mapped = zipfile.is_zipfile(path)
        names = _names_in(path)
        classes = {name: stand_in(name) or _BUILTINS.get(name) for name in names}
        refused = sorted(name for name in names if not (classes[name] or _TENSORS.fullmatch(name)))
        if not refused:
            admitted: list[Any] = [(kind, name) for name, kind in classes.items() if kind]
            with torch.serialization.safe_globals(admitted):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except FileNotFoundError:
        raise
    except Exception as error:  # bytes that are not what they seem can fail in any way
        # PyTorch's own message for a refused pickle advises to load the file unsafely.
        reason = "" if isinstance(error, pickle.UnpicklingError) else f" ({first_line(error)})"
        raise ValueError(
            f"{path}: cannot be read as weights{reason}. It is damaged or holds more than tensors; "
            "if you trust it, convert it to .safetensors"
        ) from error
    raise ValueError(
        f"{path}: refuses to unpickle {', '.join(refused[:3])}: weights need only tensors and "
        "containers. Nothing of the file was executed"
    )


def _names_in(file: Path) -> set[str]:
    """Full names of the functions and classes that a file's pickles would import."""
    names = set()
    for opcode, argument in _opcodes(file):
        if opcode.proto > 2:
            raise ValueError(f"{opcode.name} is not of protocol 2, which torch.save writes")
        if opcode.name in ("GLOBAL", "INST"):
            module, _, name = str(argument).partition(" ")
            # Protocols 0 to 2 use Python 2's names.
            renamed = (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
            names.add(".".join(_compat_pickle.NAME_MAPPING.get((module, name), renamed)))
    return names


def _opcodes(file: Path) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("compressed, which torch.save never writes")
        # the reader of torch.load: the pickle that is checked is the one that is loaded
        pickled = torch._C.PyTorchFileReader(str(file)).get_record("data.pkl")
        yield from ((opcode, argument) for opcode, argument, _ in pickletools.genops(pickled))
        return
    if tarfile.is_tarfile(file):
        raise ValueError("a tar file, which torch.save no longer writes")
    with file.open("rb") as stream:
        for _ in range(_PICKLES_BEFORE_1_6):
            yield from ((opcode, argument) for opcode, argument, _ in pickletools.genops(stream))


def check_fit(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], message: str) -> None:
    """Refuses weights without exactly the expected names and shapes.

    Raises:
        ValueError: If they do not fit; the first few differences follow the message.
    """
    problems = [f"{key} is missing" for key in sorted(expected.keys() - given.keys())]
    problems += [f"{key} is not known" for key in sorted(given.keys() - expected.keys())]
    problems += [
        f"{key} is {tuple(given[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in sorted(given.keys() & expected.keys())
        if given[key].shape != expected[key].shape
    ]
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise ValueError(f"{message}: {'; '.join(problems[:4])}{more}")
