"""Weights in files, read without executing anything in them, and whether they fit a model."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def read_safetensors(
    path: Path, wanted: Callable[[str], bool] = lambda key: True
) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` file, by name.

    Args:
        path: The file.
        wanted: Which names to read.

    Raises:
        ValueError: If it is no such file, or truncated.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys() if wanted(key)}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: no safetensors file, or truncated ({error})") from error


def read_pickle(file: Any, path: Path) -> Any:
    """Content of a file that ``torch.save`` wrote: tensors and plain Python values.

    Args:
        file: The path, or an open file; mapped into memory where that is possible.
        path: For messages.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is truncated or holds anything else.
    """
    mapped = isinstance(file, Path) and zipfile.is_zipfile(file)
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except FileNotFoundError:
        raise
    except Exception as error:  # unpickling errors have no common base class
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ValueError(
            f"{path}: cannot be read as weights ({reason}). It is truncated, or holds more than "
            "tensors, which is never executed: convert it to .safetensors where you trust it"
        ) from error


def check_fit(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], message: str) -> None:
    """Refuses weights that have not exactly the expected names and shapes.

    Raises:
        ValueError: With the first few differences behind the message.
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
