from __future__ import annotations

import io
import os
import pickle
import re
import subprocess
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.convert_memory import write_lightning
from espnet_plugin.speechclip.convert.unpickle import RefusedPickleError, read_pickled_checkpoint


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
    ours = read_pickled_checkpoint(path).content
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
    with pytest.raises(pickle.UnpicklingError):  # that is the point of having a reader of our own
        torch.load(path, weights_only=True)
    content = read_pickled_checkpoint(path).content
    assert content["hyper_parameters"]["config"] == {"a": {"b": [1, 2]}, "c": "d"}


def test_objects_of_known_libraries_become_stubs_and_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    torch.save({"a": Namespace(x=1), "b": Path("y"), "c": np.float64(3), "d": 4}, path)
    unpickled = read_pickled_checkpoint(path)
    assert unpickled.content["d"] == 4
    assert "argparse.Namespace" in unpickled.stubs
    assert any(re.fullmatch(r"pathlib.*\.PosixPath", name) for name in unpickled.stubs)
    assert any("multiarray.scalar" in name for name in unpickled.stubs)


def test_logger_of_a_library_that_is_not_installed(tmp_path: Path) -> None:
    name = b"pytorch_lightning.loggers.wandb\nWandbLogger\n"
    # an instance that gets a state, items and list entries
    pickled = b"\x80\x02}(U\x01lc" + name + b")\x81}(U\x04nameU\x03runubU\x01nK\x05u."
    unpickled = read_pickled_checkpoint(raw_archive(tmp_path / "x.ckpt", pickled))
    assert unpickled.content["n"] == 5
    assert unpickled.stubs == ("pytorch_lightning.loggers.wandb.WandbLogger",)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "function, args, name",
    [
        (os.system, ("touch {marker}",), "posix.system"),
        (eval, ("open('{marker}', 'w')",), "eval"),
        (exec, ("open('{marker}', 'w')",), "exec"),
        (subprocess.Popen, (["touch", "{marker}"],), "subprocess.Popen"),
        (getattr, (dict, "update"), "getattr"),
        (__import__, ("os",), "__import__"),
        (torch.load, ("{marker}",), "torch.serialization.load"),
        (torch.hub.load, ("x", "y"), "torch.hub.load"),
        (Path.unlink, ("{marker}",), "pathlib"),
        (np.load, ("{marker}",), "numpy"),
    ],
)
def test_anything_else_is_refused_by_name(
    function: Any, args: tuple[Any, ...], name: str, protocol: int, tmp_path: Path
) -> None:
    marker = tmp_path / "executed"
    args = tuple(a.format(marker=marker) if isinstance(a, str) else a for a in args)
    content = {"state_dict": OrderedDict(w=[(Evil(function, *args),)])}  # deep inside
    stream = io.BytesIO()
    try:
        pickle.dump(content, stream, protocol=protocol)
    except (pickle.PicklingError, AttributeError):
        pytest.skip("this Python cannot write it with this protocol")
    path = raw_archive(tmp_path / "x.ckpt", stream.getvalue())
    with pytest.raises(RefusedPickleError, match="refuses to unpickle") as caught:
        read_pickled_checkpoint(path)
    if protocol >= 2 and function is not Path.unlink:
        assert name in str(caught.value)
    assert str(path) in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize(
    "pickled",
    [
        # names with dots, which Python resolves attribute by attribute
        b"\x80\x04\x8c\x0bcollections\x94\x8c\x19OrderedDict.__class__.mro\x94\x93.",
        b"\x80\x04\x8c\x05torch\x94\x8c\x12serialization.load\x94\x93.",
        b"\x80\x04\x8c\x0ctorch._utils\x94\x8c\x0e_import_module\x94\x93.",
        b"\x80\x04\x8c\x08builtins\x94\x8c\x07getattr\x94\x93.",
        b"cbuiltins\neval\n.",  # GLOBAL
        b"(ios\nsystem\n.",  # INST
        b"(cos\nsystem\no.",  # OBJ
    ],
)
def test_every_way_of_naming_a_function_is_closed(pickled: bytes, tmp_path: Path) -> None:
    with pytest.raises(RefusedPickleError, match="refuses to unpickle"):
        read_pickled_checkpoint(raw_archive(tmp_path / "x.ckpt", pickled))


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
    with pytest.raises(RefusedPickleError, match="persistent object"):
        read_pickled_checkpoint(path)


STORAGE = b"((U\x07storagectorch\nFloatStorage\nU\x01%cU\x03cpuK%ctQ"


@pytest.mark.parametrize(
    "key, numel, arguments, message",
    [
        (b"9", 2, b"K\x00(K\x02t(K\x01t\x89N", "lacks the tensor record data/9"),
        (b"0", 9, b"K\x00(K\x09t(K\x01t\x89N", "no tensor of 36 bytes"),
        (b"0", 2, b"K\x00(K\x03t(K\x01t\x89N", "larger than its record"),
        (b"0", 2, b"K\x02(K\x01t(K\x01t\x89N", "larger than its record"),
        (b"0", 2, b"J\xff\xff\xff\xff(K\x01t(K\x01t\x89N", "without elements, sizes or strides"),
    ],
)
def test_tensors_stay_inside_their_records(
    key: bytes, numel: int, arguments: bytes, message: str, tmp_path: Path
) -> None:
    storage = STORAGE % (key, bytes([numel]))
    pickled = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + storage + arguments + b"tR."
    with pytest.raises(ValueError, match=message):
        read_pickled_checkpoint(raw_archive(tmp_path / "x.ckpt", pickled))


def test_a_pickle_cannot_change_our_functions(tmp_path: Path) -> None:
    """BUILD sets attributes of whatever is on the stack, also of a function."""
    pickled = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}U\x08poisonedK\x01sb."
    first = read_pickled_checkpoint(raw_archive(tmp_path / "x.ckpt", pickled)).content
    assert first.poisoned == 1
    pickled = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n."
    second = read_pickled_checkpoint(raw_archive(tmp_path / "y.ckpt", pickled)).content
    assert not hasattr(second, "poisoned")


def test_truncated_legacy_and_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": {"w": torch.ones(1000)}}, path)
    whole = path.read_bytes()
    for part in (0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(ValueError, match="truncated"):
            read_pickled_checkpoint(path)
    torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match="before 1.6"):
        read_pickled_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="expected a zip archive"):
        read_pickled_checkpoint(path)
    path.write_bytes(pickle.dumps(Evil(os.system, f"touch {tmp_path}/executed")))
    with pytest.raises(ValueError, match="before 1.6"):
        read_pickled_checkpoint(path)
    assert not (tmp_path / "executed").exists()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "x")
    with pytest.raises(ValueError, match="no checkpoint"):
        read_pickled_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        read_pickled_checkpoint(tmp_path / "absent.ckpt")


@pytest.mark.parametrize("pickled", [b"", b"\x80\x02}", b"\x80\x02}(U", b"\x80\x02R.", b"\xff\xff"])
def test_broken_pickles_give_one_clear_error(pickled: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="damaged checkpoint"):
        read_pickled_checkpoint(raw_archive(tmp_path / "x.ckpt", pickled))
