from __future__ import annotations

import pickle
import re
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from espnet_plugin.pretrained.convert.unpickle import (
    Stub,
    read_pickled_checkpoint,
)
from tests.pickles import raw_archive, touch
from tests.released import write_lightning


def test_tensors_containers_and_scalars_come_back(tmp_path: Path) -> None:
    shared = torch.arange(12.0).view(3, 4)
    content = {
        "state_dict": OrderedDict(
            a=shared, b=shared.t(), c=shared[1:, 2], d=torch.ones(2, dtype=torch.bool)
        ),
        "half": torch.tensor([1.5], dtype=torch.float16),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.tensor([7.0])),
        "other": [1, 2.5, None, True, "x", b"y", (1,), {3}, torch.Size([2]), torch.float32],
        "device": torch.device("cpu"),
    }
    path = tmp_path / "x.ckpt"
    torch.save(content, path)
    ours, _ = read_pickled_checkpoint(path)
    assert list(ours["state_dict"]) == ["a", "b", "c", "d"]
    for key, value in content["state_dict"].items():
        assert torch.equal(ours["state_dict"][key], value), key
    assert ours["state_dict"]["a"].data_ptr() == ours["state_dict"]["b"].data_ptr()
    assert ours["half"].item() == 1.5 and ours["half"].dtype is torch.float16
    assert ours["empty"].shape == (0, 3)
    assert ours["parameter"].tolist() == [7.0]
    assert ours["other"] == content["other"]
    assert ours["device"] == content["device"]


def test_configuration_object_becomes_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    write_lightning(path, {"w": torch.ones(1)}, {"a": {"b": [1, 2]}, "c": "d"})
    with pytest.raises(pickle.UnpicklingError):  # its class is not one that PyTorch admits
        torch.load(path, weights_only=True)
    content, _ = read_pickled_checkpoint(path)
    assert content["hyper_parameters"]["config"] == {"a": {"b": [1, 2]}, "c": "d"}


def test_objects_of_known_libraries_become_stubs_and_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    torch.save({"a": Namespace(x=1), "b": Path("y"), "c": np.float64(3), "d": 4}, path)
    content, stubs = read_pickled_checkpoint(path)
    assert content["d"] == 4
    assert "argparse.Namespace" in stubs
    assert any(re.fullmatch(r"pathlib.*\.PosixPath", name) for name in stubs)
    assert any("multiarray.scalar" in name for name in stubs)


def test_logger_of_a_library_that_is_not_installed(tmp_path: Path) -> None:
    name = b"pytorch_lightning.loggers.wandb\nWandbLogger\n"
    # an instance that gets a state, items and list entries
    pickled = b"\x80\x02}(U\x01lc" + name + b")\x81}(U\x04nameU\x03runubU\x01nK\x05u."
    content, stubs = read_pickled_checkpoint(raw_archive(tmp_path / "x.ckpt", pickled))
    assert content["n"] == 5
    assert stubs == ["pytorch_lightning.loggers.wandb.WandbLogger"]


def test_hyper_parameters_in_a_dictionary_of_lightning(tmp_path: Path) -> None:
    name = b"pytorch_lightning.utilities.parsing\nAttributeDict\n"
    pickled = b"\x80\x02c" + name + b")\x81(U\x01aK\x01U\x01bK\x02u."
    content, stubs = read_pickled_checkpoint(raw_archive(tmp_path / "x.ckpt", pickled))
    assert content == {"a": 1, "b": 2} and stubs == []


@pytest.mark.parametrize("name", [b"wandb.sdk\nsystem", b"avssl\nos.system", b"numpy.os\nscalar"])
def test_names_of_known_libraries_are_not_looked_up(name: bytes, tmp_path: Path) -> None:
    pickled = b"\x80\x02c" + name + b"\n(U\x05touchtR."
    content, stubs = read_pickled_checkpoint(raw_archive(tmp_path / "x.ckpt", pickled))
    assert isinstance(content, Stub) and vars(content) == {}
    assert stubs == [name.decode().replace("\n", ".")]


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02cwandb\nX\n)\x81)R.",  # calls a stub
        b"\x80\x02cwandb\nX\n}U\x08poisonedK\x01sb.",  # sets an attribute of its class
        b"\x80\x02cbuiltins\nint\n}U\x08poisonedK\x01sb.",
    ],
)
def test_a_stub_stays_as_it_is(pickled: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read as weights"):
        read_pickled_checkpoint(raw_archive(tmp_path / "x.ckpt", pickled))
    assert not hasattr(Stub, "poisoned")


def test_anything_else_is_refused(tmp_path: Path) -> None:
    torch.save({"a": touch(tmp_path / "executed")}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="refuses to unpickle posix.system"):
        read_pickled_checkpoint(tmp_path / "x.ckpt")
    with pytest.raises(FileNotFoundError, match="absent.ckpt: no such file"):
        read_pickled_checkpoint(tmp_path / "absent.ckpt")
    assert not (tmp_path / "executed").exists()
