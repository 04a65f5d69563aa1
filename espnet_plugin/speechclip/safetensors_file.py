"""Tensors in the safetensors format, written one by one.

The safetensors package copies every tensor before it writes the first. Weights that are mapped from
a checkpoint of the same size would then be in memory twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNMENT = 8


def write_safetensors(path: str | Path, tensors: Mapping[str, Tensor]) -> int:
    """Writes tensors as a ``.safetensors`` file (https://github.com/huggingface/safetensors,
    "Format").

    Args:
        path: File to write; what it held is lost.
        tensors: In the order in which they are written; at most one at a time is copied.

    Returns:
        Size of the file in bytes.

    Raises:
        ValueError: If a tensor has a type that the format does not know.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            raise ValueError(f"{name}: {tensor.dtype} cannot be stored as safetensors")
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    path = Path(path)
    # Not in place: the tensors may be mapped from the very file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with open(temporary, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            if flat.numel():
                file.write(flat.view(torch.uint8).numpy().data)
    os.replace(temporary, path)
    return 8 + len(text) + end
