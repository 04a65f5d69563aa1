from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from espnet_plugin.speechclip.safetensors_file import write_safetensors


def test_what_is_written_is_what_the_library_reads(tmp_path: Path) -> None:
    tensors = {
        "matrix": torch.arange(6.0).view(2, 3),
        "transposed": torch.arange(6.0).view(2, 3).t(),
        "scalar": torch.tensor(3),
        "bool": torch.tensor([True, False, True]),
        "half": torch.tensor([1.5], dtype=torch.float16),
        "bfloat": torch.tensor([2.5], dtype=torch.bfloat16),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(torch.ones(1)),
    }
    size = write_safetensors(tmp_path / "x.safetensors", tensors)
    assert size == (tmp_path / "x.safetensors").stat().st_size
    loaded = load_file(tmp_path / "x.safetensors")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype and torch.equal(loaded[name], tensor), name


def test_a_file_may_be_rewritten_from_its_own_tensors(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"a": torch.arange(100_000.0)})
    write_safetensors(path, load_file(path))
    assert torch.equal(load_file(path)["a"], torch.arange(100_000.0))


def test_unknown_types_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x: torch.complex64 cannot be stored"):
        write_safetensors(tmp_path / "x.safetensors", {"x": torch.ones(1, dtype=torch.complex64)})
