"""What a run of the recipe left, for comparison with another run; times do not count."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from espnet_plugin.data.frame_store import StoredFrames
from espnet_plugin.data.scp import read_scp, write_scp

INDICES = ("pictures.index", "recordings.index")
# logs and times; and notes of sizes and times of files, which say nothing about the results
_IGNORED = re.compile(
    r"(^|/)(logs|tensorboard|manifest|images|__pycache__|\.seconds)/|\.log$|\.lock|made_from\.json$"
    r"|stage_seconds\.json$|frames\.\d+\.\d+\.safetensors$|(^|/)\.?run\.sh$"
)
_TIMES = re.compile(
    rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?|^timestamp: .*\n"
    # of the checkout, which may change meanwhile
    rb"|commit [0-9a-f]{12}|^ *\"commit\": .*\n"
    # of the stages, in the report's tables
    rb"|^ *\"\d+\": \d+,?\n|^\| (\d+|all) \| \d+\.\d \|\n|^<p>.* in all \(stage .*\n",
    re.MULTILINE,
)
_FOLDERS = ("data", "dump", "exp", "tmp", *INDICES)


def made_files(recipe: Path) -> Iterator[str]:
    """Everything that the stages have made, relative to the recipe's folder."""
    for folder in _FOLDERS:
        for path, _, names in os.walk(recipe / folder):
            yield from (os.path.relpath(os.path.join(path, name), recipe) for name in names)


class Embeddings:
    """Equal up to rounding: what is missing after a kill is computed in smaller batches."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __eq__(self, other: object) -> bool:
        # float16 rounds to other neighbours what differs by 1e-6 before
        neighbours = np.finfo(np.float16).eps if self.array.dtype == np.float16 else 0.0
        return (
            isinstance(other, Embeddings)
            and self.array.dtype == other.array.dtype
            and self.array.shape == other.array.shape
            and np.allclose(self.array, other.array, rtol=neighbours, atol=1e-6)
        )

    __hash__ = None  # type: ignore[assignment]


def results(recipe: Path) -> dict[str, Any]:
    """File → what it holds, of those that count, for ``==``; and the indices, window by window."""
    found: dict[str, Any] = {}
    for name in made_files(recipe):
        path = recipe / name
        if _IGNORED.search(name) or name.startswith(INDICES):
            continue
        if path.name == "speech_states.scp":
            found |= {f"{name}: {key}": states for key, states in _states(recipe, path).items()}
            continue
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
            continue
        if path.suffix == ".npy":
            found[name] = Embeddings(np.load(path))
            continue
        found[name] = _digest(name, path.read_bytes())
    for index in INDICES:
        found |= _indexed(recipe / index)
    return found


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """A line for each file that is missing, left over or another."""
    told = dict.fromkeys(expected.keys() - found.keys(), "missing")
    told |= dict.fromkeys(found.keys() - expected.keys(), "left over")
    common = found.keys() & expected.keys()
    told |= {name: "another" for name in common if found[name] != expected[name]}
    return [f"{name}: {told[name]}" for name in sorted(told)]


def _digest(name: str, content: bytes) -> str:
    read = _READERS.get(Path(name).suffix, _text)
    return hashlib.sha256(repr(read(content)).encode()).hexdigest()


def _states(recipe: Path, scp: Path) -> dict[str, Embeddings]:
    """Utterance → its stored states, in whichever file they lie."""
    places = {key: os.path.join(recipe, place) for key, place in read_scp(scp).items()}
    with tempfile.TemporaryDirectory() as folder:
        write_scp(f"{folder}/states.scp", places)
        stored = StoredFrames(f"{folder}/states.scp")
    return {key: Embeddings(stored.read(key)["frames"]) for key in stored}


def _text(content: bytes) -> Any:
    return _TIMES.sub(b"", content)


def _arrays(content: bytes) -> Any:
    arrays = np.load(io.BytesIO(content))
    return [(name, arrays[name].dtype, arrays[name].tobytes()) for name in sorted(arrays)]


def _checkpoint(content: bytes) -> Any:
    import torch

    # our own file, of a moment ago
    return _plain(torch.load(io.BytesIO(content), map_location="cpu", weights_only=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return [
            (key, _plain(part))
            for key, part in value.items()
            if not re.search("time|seconds|mem_GB|throughput", str(key))
        ]
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if hasattr(value, "numpy"):
        return value.dtype, value.shape, value.detach().numpy().tobytes()
    return value


def _indexed(index: Path) -> dict[str, Any]:
    if not index.is_dir():
        return {}
    (vectors,) = (np.fromfile(path, "<f4") for path in index.glob("vectors-*"))
    with contextlib.closing(sqlite3.connect(index / "catalog.sqlite")) as catalog:
        query = "SELECT path, row, start, end, words FROM files LEFT JOIN vectors USING (content)"
        windows = catalog.execute(query).fetchall()
        (state,) = catalog.execute("SELECT json FROM state").fetchone()
    dim = json.loads(state)["dim"]
    vectors = vectors[: len(vectors) // dim * dim].reshape(-1, dim)  # a kill can leave half a row
    return {
        f"{index.name}: {os.path.basename(path).decode()} {what}": Embeddings(vectors[row].copy())
        for path, row, *what in windows
    }


_READERS: dict[str, Callable[[bytes], Any]] = {
    ".npz": _arrays,
    ".pth": _checkpoint,
}
