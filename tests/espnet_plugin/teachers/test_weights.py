"""Weights from others, and damaged ones: an error of one sentence, and nothing runs.

All weights are read by these two functions: CLIP's and Whisper's, those of models and trainings,
and the original's checkpoints.
"""

from __future__ import annotations

import functools
import importlib
import io
import json
import operator
import os
import pickle
import runpy
import shutil
import struct
import subprocess
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from espnet_plugin.teachers.weights import read_pickle, read_safetensors
from tests.pickles import Call, raw_archive, touch


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
def test_functions_are_refused_by_name(
    function: Any, args: tuple[Any, ...], name: str, tmp_path: Path
) -> None:
    marker = tmp_path / "executed"
    args = tuple(a.format(marker=marker) if isinstance(a, str) else a for a in args)
    content = {"state_dict": OrderedDict(w=[(Call(function, *args),)])}  # deep inside
    path = raw_archive(tmp_path / "x.ckpt", pickle.dumps(content, protocol=2))
    with pytest.raises(ValueError, match=f"{path}.*refuses to unpickle.*{name}") as caught:
        read_pickle(path)
    assert str(caught.value).endswith("Nothing of the file was executed")
    assert not marker.exists()


NAMED = "refuses to unpickle"
UNREADABLE = "cannot be read as weights"


def tensor(key: bytes, numel: int, arguments: bytes) -> bytes:
    """A tensor of a record with so many numbers: place, size, strides."""
    storage = b"((U\x07storagectorch\nFloatStorage\nU\x01%cU\x03cpuK%ctQ" % (key, bytes([numel]))
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + storage + arguments + b"\x89NtR."


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        # names with dots, which Python resolves attribute by attribute
        (b"ccollections\nOrderedDict.__class__.mro\n.", NAMED),
        (b"ctorch\nserialization.load\n.", NAMED),
        (b"ctorch.serialization\nload\n.", NAMED),
        (b"ctorch._utils\n_import_module\n.", NAMED),
        (b"cargparse.os\nsystem\n.", NAMED),
        (b"cnumpy\nload\n.", NAMED),
        (b"cbuiltins\neval\n.", NAMED),  # GLOBAL
        (b"(ios\nsystem\n.", NAMED),  # INST
        (b"(cos\nsystem\no.", NAMED),  # OBJ
        # other ways of calling
        (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93.", UNREADABLE),  # STACK_GLOBAL
        (b"\x80\x02\x82\x01.", UNREADABLE),  # EXT1
        (b"\x80\x02}}b.", UNREADABLE),  # state for what has none
        (b"\x80\x02U\x01x)R.", UNREADABLE),  # calls a string
        (b"\x80\x02ctorch\nFloatStorage\n(K\x02tR.", UNREADABLE),  # calls a storage's type
        (b"\x80\x02cbuiltins\nint\nU\x01x\x85}\x92.", UNREADABLE),  # NEWOBJ_EX
        # sets an attribute of a function
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}U\x08poisonedK\x01sb.", UNREADABLE),
        # a record with a name for a tuple, of another kind, with another type than a tensor's
        (b"\x80\x02U\x07storageQ.", UNREADABLE),
        (b"\x80\x02(U\x06moduleU\x01xU\x010U\x03cpuK\x02tQ.", UNREADABLE),
        (b"\x80\x02(U\x07storagecbuiltins\nint\nU\x010U\x03cpuK\x02tQ.", UNREADABLE),
        # tensors of no record, beyond the file's end or their record's, before it, of odd strides
        (tensor(b"9", 2, b"K\x00(K\x02t(K\x01t"), "data/9"),
        (tensor(b"0", 255, b"K\x00(K\xfft(K\x01t"), "not resizable"),
        (tensor(b"0", 2, b"K\x00(K\x03t(K\x01t"), "not resizable"),
        (tensor(b"0", 2, b"K\x02(K\x01t(K\x01t"), "not resizable"),
        (tensor(b"0", 2, b"J\xff\xff\xff\xff(K\x01t(K\x01t"), "invalid storage offset"),
        (tensor(b"0", 2, b"K\x01(K\x02t(J\xff\xff\xff\xfft"), "strides"),
        # cut off
        (b"", UNREADABLE),
        (b"\x80\x02}", UNREADABLE),
        (b"\x80\x02}(U", UNREADABLE),
        (b"\x80\x02R.", UNREADABLE),
        (b"\xff\xff", UNREADABLE),
    ],
)
def test_pickles_that_hold_more_or_less_than_weights(
    pickled: bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"({UNREADABLE}|{NAMED})") as caught:
        read_pickle(raw_archive(tmp_path / "x.ckpt", pickled))
    assert message in str(caught.value)
    assert "weights_only" not in str(caught.value)  # no advice to load it unsafely


def saved(content: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def script() -> bytes:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), stream)
    return stream.getvalue()


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return stream.getvalue()


def archived(pickled: bytes) -> bytes:
    return zipped({"archive/data.pkl": pickled, "archive/version": b"3"})


def tarred(content: bytes) -> bytes:
    """As PyTorch before 0.1.10 wrote it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


WHOLE = saved({"state_dict": {"w": torch.ones(1000)}})
OLD = {"_use_new_zipfile_serialization": False}  # as before PyTorch 1.6
FILES: dict[str, Callable[[Call], bytes]] = {
    **{f"protocol {n}": lambda call, n=n: archived(pickle.dumps(call, n)) for n in range(6)},
    "saved": lambda call: saved({"a": call}),
    "saved by protocol 4": lambda call: saved(call, pickle_protocol=4),
    "saved as before 1.6": lambda call: saved(call, **OLD),
    "saved as before 0.1.10": lambda call: tarred(pickle.dumps(call, protocol=2)),
    "a module": lambda call: saved(torch.nn.Linear(1, 1)),
    "TorchScript": lambda call: script(),
    # what PyTorch admits beyond plain tensors
    "a sparse tensor": lambda call: saved({"a": torch.eye(2).to_sparse()}),
    "a sparse tensor as before 1.6": lambda call: saved({"a": torch.eye(2).to_sparse()}, **OLD),
    "an archive in another": lambda call: zipped({"model.pth": saved(call)}),
    "compressed": lambda call: zipped({"archive/data.pkl": b"\x80\x02}."}, zipfile.ZIP_DEFLATED),
    "another archive": lambda call: zipped({"hello.txt": b"x"}),
    "two pickles": lambda call: zipped(
        {"archive/data.pkl": b"\x80\x02}.", "archive/constants.pkl": b"\x80\x02)."}
    ),
    "a tenth": lambda call: WHOLE[: len(WHOLE) // 10],
    "half": lambda call: WHOLE[: len(WHOLE) // 2],
    "all but the end": lambda call: WHOLE[:-100],
    "text": lambda call: b"no weights at all",
    "nothing": lambda call: b"",
}
REASONS = {
    **dict.fromkeys(["protocol 4", "protocol 5"], "not of protocol 2"),
    "saved as before 0.1.10": "a tar file, which torch.save no longer writes",
    "compressed": "compressed, which torch.save never writes",
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_hold_no_weights(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(FILES[name](touch(tmp_path / "executed")))
    with pytest.raises(ValueError, match=f"^{path}: ({UNREADABLE}|{NAMED})") as caught:
        read_pickle(path)
    assert REASONS.get(name, "") in str(caught.value)
    assert not (tmp_path / "executed").exists()
    with pytest.raises(ValueError, match=f"^{path}: not a safetensors file, or truncated"):
        read_safetensors(path)


HEADER = json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}})


@pytest.mark.parametrize(
    "content", [struct.pack("<Q", 1 << 60), struct.pack("<Q", len(HEADER)) + HEADER.encode()]
)
def test_safetensors_end_with_their_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.safetensors: not a safetensors file, or truncated"):
        read_safetensors(tmp_path / "x.safetensors")


def test_nothing_stays_admitted(tmp_path: Path) -> None:
    torch.save({"a": Path("x")}, tmp_path / "x.ckpt")
    before = set(torch.serialization.get_safe_globals())
    read_pickle(tmp_path / "x.ckpt", stand_in=lambda name: Call)
    assert set(torch.serialization.get_safe_globals()) == before
