from __future__ import annotations

import functools
import importlib
import operator
import os
import pickle
import re
import runpy
import shutil
import subprocess
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from espnet_plugin.pretrained.convert.unpickle import (
    Stub,
    read_pickled_checkpoint,
)
from tests.released import write_lightning


class Evil:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def raw_archive(path: Path, pickled: bytes) -> Path:
    """A checkpoint with a pickle of our own and one record of eight bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3")
        archive.writestr("archive/data/0", np.arange(2, dtype=np.float32).tobytes())
    return path


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


@pytest.mark.parametrize(
    "function, args, name",
    [
        (os.system, ("touch {marker}",), "posix.system"),
        (eval, ("open('{marker}', 'w')",), "eval"),
        (exec, ("open('{marker}', 'w')",), "exec"),
        (subprocess.Popen, (["touch", "{marker}"],), "subprocess.Popen"),
        (getattr, (dict, "update"), "getattr"),
        (__import__, ("os",), "__import__"),
        (compile, ("open('{marker}', 'w')", "x", "exec"), "compile"),
        (importlib.import_module, ("os",), "importlib.import_module"),
        (runpy.run_path, ("{marker}",), "runpy.run_path"),
        (pickle.loads, ("x",), "loads"),
        (shutil.rmtree, ("{marker}",), "shutil.rmtree"),
        (operator.attrgetter("__class__.mro"), (dict,), "operator.attrgetter"),
        (functools.partial(functools.partial, os.system), ("touch {marker}",), "posix.system"),
        (torch.jit.load, ("{marker}",), "torch.jit"),
        (np.fromfile, ("{marker}",), "numpy"),
        # PyTorch's reader would call these
        (torch._utils._rebuild_sparse_tensor, (torch.sparse_coo, ()), "_rebuild_sparse_tensor"),
        (torch._utils._rebuild_wrapper_subclass, (), "_rebuild_wrapper_subclass"),
        (torch._tensor._rebuild_from_type_v2, (), "_rebuild_from_type_v2"),
        (torch.Tensor, (), "torch.Tensor"),
        (torch.load, ("{marker}",), "torch.serialization.load"),
        (torch.hub.load, ("x", "y"), "torch.hub.load"),
        (np.load, ("{marker}",), "numpy"),
    ],
)
def test_anything_else_is_refused_by_name(
    function: Any, args: tuple[Any, ...], name: str, tmp_path: Path
) -> None:
    marker = tmp_path / "executed"
    args = tuple(a.format(marker=marker) if isinstance(a, str) else a for a in args)
    content = {"state_dict": OrderedDict(w=[(Evil(function, *args),)])}  # deep inside
    path = raw_archive(tmp_path / "x.ckpt", pickle.dumps(content, protocol=2))
    with pytest.raises(ValueError, match=f"{path}.*refuses to unpickle.*{name}") as caught:
        read_pickled_checkpoint(path)
    assert str(caught.value).endswith("Nothing of the file was executed")
    assert not marker.exists()


@pytest.mark.parametrize("protocol", [0, 1, 3, 4, 5])
def test_no_other_protocol_is_a_way_around(protocol: int, tmp_path: Path) -> None:
    evil = Evil(os.system, f"touch {tmp_path / 'executed'}")
    path = raw_archive(tmp_path / "x.ckpt", pickle.dumps({"a": evil}, protocol=protocol))
    with pytest.raises(ValueError, match="refuses to unpickle|not of protocol 2"):
        read_pickled_checkpoint(path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "pickled",
    [
        # names with dots, which Python resolves attribute by attribute
        b"ccollections\nOrderedDict.__class__.mro\n.",
        b"ctorch\nserialization.load\n.",
        b"ctorch.serialization\nload\n.",
        b"ctorch._utils\n_import_module\n.",
        b"cargparse.os\nsystem\n.",
        b"cnumpy\nload\n.",
        b"cbuiltins\neval\n.",  # GLOBAL
        b"(ios\nsystem\n.",  # INST
        b"(cos\nsystem\no.",  # OBJ
    ],
)
def test_every_way_of_naming_a_function_is_closed(pickled: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="refuses to unpickle"):
        read_pickled_checkpoint(raw_archive(tmp_path / "x.ckpt", pickled))


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93.",  # STACK_GLOBAL
        b"\x80\x02\x82\x01.",  # EXT1
        b"\x80\x02}}b.",  # state for what has none
        b"\x80\x02U\x01x)R.",  # calls a string
        b"\x80\x02cwandb\nX\n)\x81)R.",  # calls a stub
        b"\x80\x02ctorch\nFloatStorage\n(K\x02tR.",  # calls a storage's type
        b"\x80\x02cbuiltins\nint\nU\x01x\x85}\x92.",  # NEWOBJ_EX
    ],
)
def test_other_ways_of_calling_are_closed(pickled: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read as weights") as caught:
        read_pickled_checkpoint(raw_archive(tmp_path / "x.ckpt", pickled))
    assert "weights_only" not in str(caught.value)  # no advice to load it unsafely


@pytest.mark.parametrize("name", [b"wandb.sdk\nsystem", b"avssl\nos.system", b"numpy.os\nscalar"])
def test_names_of_known_libraries_are_not_looked_up(name: bytes, tmp_path: Path) -> None:
    pickled = b"\x80\x02c" + name + b"\n(U\x05touchtR."
    content, stubs = read_pickled_checkpoint(raw_archive(tmp_path / "x.ckpt", pickled))
    assert isinstance(content, Stub) and vars(content) == {}
    assert stubs == [name.decode().replace("\n", ".")]


@pytest.mark.parametrize(
    "pid",
    [
        b"U\x07storage",  # no tuple
        b"(U\x06moduleU\x01xU\x010U\x03cpuK\x02t",  # another kind
        b"(U\x07storagecbuiltins\nint\nU\x010U\x03cpuK\x02t",  # not of a tensor type
    ],
)
def test_odd_persistent_ids_are_refused(pid: bytes, tmp_path: Path) -> None:
    path = raw_archive(tmp_path / "x.ckpt", b"\x80\x02" + pid + b"Q.")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        read_pickled_checkpoint(path)


STORAGE = b"((U\x07storagectorch\nFloatStorage\nU\x01%cU\x03cpuK%ctQ"


@pytest.mark.parametrize(
    "key, numel, arguments, message",
    [
        (b"9", 2, b"K\x00(K\x02t(K\x01t\x89N", "data/9"),
        (b"0", 255, b"K\x00(K\xfft(K\x01t\x89N", "not resizable"),  # beyond the file's end
        (b"0", 2, b"K\x00(K\x03t(K\x01t\x89N", "not resizable"),
        (b"0", 2, b"K\x02(K\x01t(K\x01t\x89N", "not resizable"),
        (b"0", 2, b"J\xff\xff\xff\xff(K\x01t(K\x01t\x89N", "invalid storage offset"),
        (b"0", 2, b"K\x01(K\x02t(J\xff\xff\xff\xfft\x89N", "strides"),
    ],
)
def test_tensors_stay_inside_the_file(
    key: bytes, numel: int, arguments: bytes, message: str, tmp_path: Path
) -> None:
    storage = STORAGE % (key, bytes([numel]))
    pickled = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + storage + arguments + b"tR."
    with pytest.raises(ValueError, match=f"cannot be read as weights.*{message}"):
        read_pickled_checkpoint(raw_archive(tmp_path / "x.ckpt", pickled))


@pytest.mark.parametrize(
    "name", [b"torch._utils\n_rebuild_tensor_v2", b"wandb\nX", b"builtins\nint"]
)
def test_a_pickle_cannot_change_our_functions_and_classes(name: bytes, tmp_path: Path) -> None:
    """BUILD sets attributes of whatever is on the stack."""
    pickled = b"\x80\x02c" + name + b"\n}U\x08poisonedK\x01sb."
    with pytest.raises(ValueError, match="cannot be read as weights"):
        read_pickled_checkpoint(raw_archive(tmp_path / "x.ckpt", pickled))
    assert not hasattr(Stub, "poisoned")


def test_nothing_stays_admitted(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    torch.save({"a": Namespace(x=1)}, path)
    before = set(torch.serialization.get_safe_globals())
    read_pickled_checkpoint(path)
    assert set(torch.serialization.get_safe_globals()) == before


def test_truncated_and_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": {"w": torch.ones(1000)}}, path)
    whole = path.read_bytes()
    for part in (0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(ValueError, match="cannot be read as weights.*damaged"):
            read_pickled_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        read_pickled_checkpoint(path)
    path.write_bytes(pickle.dumps(Evil(os.system, f"touch {tmp_path}/executed"), protocol=2))
    with pytest.raises(ValueError, match="cannot be read as weights|refuses to unpickle"):
        read_pickled_checkpoint(path)
    assert not (tmp_path / "executed").exists()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "x")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        read_pickled_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/constants.pkl", b"\x80\x02).")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        read_pickled_checkpoint(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    with pytest.raises(ValueError, match="compressed"):
        read_pickled_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        read_pickled_checkpoint(tmp_path / "absent.ckpt")


@pytest.mark.parametrize("pickled", [b"", b"\x80\x02}", b"\x80\x02}(U", b"\x80\x02R.", b"\xff\xff"])
def test_broken_pickles_give_one_clear_error(pickled: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read as weights"):
        read_pickled_checkpoint(raw_archive(tmp_path / "x.ckpt", pickled))
