"""Arrays with a row per frame, e.g. hidden states: many utterances to a file, read by the stretch.

A file is in the safetensors format, so that anything reads it; docs/training_speed.md describes
what it holds. Frames are read with plain positioned reads and not through a memory map: the pages
are the operating system's either way, shared by all processes, but a file that is cut off is an
error that names it, and not the end of the process.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from espnet_plugin.data.array_store import ArrayStore
from espnet_plugin.data.manifest import Note
from espnet_plugin.data.scp import DataError, read_scp
from espnet_plugin.utils.atomic import atomic_path

Arrays = Mapping[str, np.ndarray]

FILE_BYTES = 256 * 2**20  # what a killed job loses at most
FRAMES = "frames"  # the array that the others belong to
CHECKSUM = "checksum"
CHECKSUM_BYTES = 4  # per frame
SHARED, SHARED_CRC32 = "shared", "shared_crc32"
SECONDS_UNTIL_NOTED = 60.0
DTYPES = {"I8": "|i1", "F16": "<f2", "F32": "<f4", "U32": "<u4"}
# how reading a header that is none can end, beside ValueError
DAMAGED = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError)
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class FrameStore(ArrayStore):
    """A directory of files that hold the frames of many utterances, see :class:`ArrayStore`.

    Args:
        directory, files, maker, job: As for :class:`ArrayStore`.
        shared: Names of the arrays that are no frames and the same for all utterances of a file.
    """

    def __init__(
        self,
        directory: str | Path,
        files: Mapping[str, str],
        *,
        maker: Mapping[str, Any],
        job: str = "1",
        shared: Collection[str] = (),
    ) -> None:
        there = list(Path(directory).glob("frames.*.safetensors"))
        super().__init__(directory, files, maker=maker, job=job)
        self._job = job
        self._shared = shared
        self._waiting: dict[str, Arrays] = {}
        self._remove_unused(there)

    def _remove_unused(self, there: Iterable[Path]) -> None:
        used = {_Place.parse(entry).path for entry in self._entries.values()}
        for path in there:
            if str(path) in used:
                continue
            # a job beside this one may have removed it, too,
            with contextlib.suppress(FileNotFoundError):
                # or have written it and be about to note it
                if time.time() - path.stat().st_mtime > SECONDS_UNTIL_NOTED:
                    path.unlink()

    @staticmethod
    def _entry(note: Note) -> str:
        return str(_Place(str(note.result), *note.facts))

    def discard_damaged(self, keys: Iterable[str]) -> list[str]:
        """Reads the stored frames of ids and forgets those that are damaged, so that they are made
        again; returns them."""
        damaged = []
        for key in keys:
            if key not in self._entries:
                continue
            place = _Place.parse(self._entries[key])
            try:
                _read(place, 0, place.frames)
            except (OSError, ValueError) as error:
                logging.warning(f"{key} is made again: {error}")
                del self._entries[key]
                damaged.append(key)
        return damaged

    def save(self, items: Mapping[str, Any]) -> None:
        """Takes arrays by name of each id, {"frames": (frames, ...), ...}.

        They are on the disk once a file is full, and after :meth:`write_list`.
        """
        for key, arrays in items.items():
            first = next(iter(self._waiting.values()), arrays)
            if any(first[name] is not arrays[name] for name in self._shared if name in arrays):
                self._write()
            self._waiting[key] = arrays
        if sum(a.nbytes for arrays in self._waiting.values() for a in arrays.values()) > FILE_BYTES:
            self._write()

    def write_list(
        self, path: str | Path, keys: Collection[str], unreadable: Mapping[str, str], *, what: str
    ) -> None:
        """As :meth:`ArrayStore.write_list`; a line says file, first frame, number of frames."""
        self._write()
        super().write_list(path, keys, unreadable, what=what)

    def _write(self) -> None:
        """Puts what waits into a file, and notes it."""
        if not self._waiting:
            return
        items = list(self._waiting.values())
        parts = {
            name: [items[0][name]] if name in self._shared else [item[name] for item in items]
            for name in items[0]
        }
        parts[CHECKSUM] = [
            _checksums(array for name, array in item.items() if name not in self._shared)
            for item in items
        ]
        shared = [name for name in parts if name in self._shared]
        crc = _crc32(parts[name][0] for name in shared)
        metadata = {SHARED: " ".join(shared), SHARED_CRC32: str(crc)}
        path = self._free_path()
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            _write_safetensors(stream, parts, metadata)
        start = 0
        with self._manifest as manifest:
            for key, item in self._waiting.items():
                self._note(manifest, key, path, [start, len(item[FRAMES])])
                start += len(item[FRAMES])
        self._waiting = {}

    def _free_path(self) -> Path:
        number = 1
        while (path := self.directory / f"frames.{self._job}.{number}.safetensors").exists():
            number += 1
        return path


class StoredFrames(Mapping[str, np.ndarray]):
    """What a list of :class:`FrameStore` names.

    As a mapping, utterance → the frames that it has, [0, frames]: what is to be read of them can be
    narrowed before it is read.
    """

    def __init__(self, scp: str | Path) -> None:
        self._entries = read_scp(scp)

    def __getitem__(self, key: str) -> np.ndarray:
        return np.array([0, _Place.parse(self._entries[key]).frames])

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def folders(self) -> list[Path]:
        """Where the files lie."""
        paths = {_Place.parse(entry).path for entry in self._entries.values()}
        return sorted({Path(path).parent for path in paths})

    def read(self, key: str, start: int = 0, stop: int | None = None) -> dict[str, np.ndarray]:
        """Frames [start, stop) of an utterance, {"frames": (frames, ...), ...}, and shared arrays.

        Raises:
            DataError: The file is cut off, or what is read is not what was written.
        """
        place = _Place.parse(self._entries[key])
        return _read(place, start, place.frames if stop is None else stop)


@dataclass(frozen=True)
class _Place:
    """Where an utterance's frames lie."""

    path: str
    first: int
    frames: int

    @classmethod
    def parse(cls, entry: str) -> _Place:
        path, _, numbers = entry.partition(".safetensors ")
        first, _, frames = numbers.partition(" ")
        if not (first.isdecimal() and frames.isdecimal() and int(frames)):
            raise DataError(
                f"{entry!r} names no stored frames (FILE.safetensors FIRST FRAMES); "
                "run stage 6 again"
            )
        return cls(f"{path}.safetensors", int(first), int(frames))

    def __str__(self) -> str:
        return f"{self.path} {self.first} {self.frames}"


@dataclass(frozen=True)
class _Rows:
    """An array in a file: where its rows begin, and what one is."""

    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape)


def _write_safetensors(
    stream: BinaryIO, parts: Mapping[str, Sequence[np.ndarray]], metadata: Mapping[str, str]
) -> None:
    """Writes arrays that come in parts, without putting them together first."""
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, arrays in parts.items():
        start, end = end, end + sum(array.nbytes for array in arrays)
        header[name] = {
            "dtype": NAMES[arrays[0].dtype.newbyteorder("<").str],
            "shape": [sum(map(len, arrays)), *arrays[0].shape[1:]],
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    stream.write(len(text).to_bytes(8, "little") + text)
    for arrays in parts.values():
        for array in arrays:
            stream.write(np.ascontiguousarray(array).data)


def _read(place: _Place, start: int, stop: int) -> dict[str, np.ndarray]:
    arrays = {}
    with open(place.path, "rb", buffering=0) as stream:
        rows, shared = _contents(place.path, os.fstat(stream.fileno()).st_mtime_ns)
        for name, row in rows.items():
            arrays[name] = np.empty((stop - start, *row.shape), row.dtype)
            stream.seek(row.offset + (place.first + start) * row.nbytes)
            if stream.readinto(arrays[name].data) != arrays[name].nbytes:
                raise DataError(f"{place.path} has fewer frames than are listed; run stage 6 again")
    wrong = np.flatnonzero(arrays.pop(CHECKSUM) != _checksums(arrays.values()))
    if len(wrong):
        first = place.first + start
        raise DataError(
            f"{place.path} is damaged in {len(wrong)} of the frames from {first} to "
            f"{first + stop - start}; run stage 6 again, which makes them anew"
        )
    return {**arrays, **shared}


@lru_cache(maxsize=256)
def _contents(path: str, _: int) -> tuple[dict[str, _Rows], dict[str, np.ndarray]]:
    """The arrays of frames in a file of that age, and its shared ones."""
    rows, shared = {}, {}
    try:
        with open(path, "rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(size))
            there = os.fstat(stream.fileno()).st_size - 8 - size
            metadata = header.pop("__metadata__")
            names = metadata[SHARED].split()
            for name, tensor in header.items():
                dtype, (count, *shape) = np.dtype(DTYPES[tensor["dtype"]]), tensor["shape"]
                start, end = tensor["data_offsets"]
                row = _Rows(8 + size + start, dtype, tuple(shape))
                if not all(isinstance(n, int) and n > 0 for n in (count, *shape)):
                    raise ValueError(f"{name} has shape {tensor['shape']}")
                if not 0 <= start <= end <= there or end - start != count * row.nbytes:
                    raise ValueError(f"{name} has {end - start} bytes")
                if name in names:
                    stream.seek(row.offset)
                    flat = np.frombuffer(stream.read(count * row.nbytes), dtype)
                    shared[name] = flat.reshape(count, *shape).copy()
                else:
                    rows[name] = row
            if {CHECKSUM, FRAMES} - rows.keys() or int(metadata[SHARED_CRC32]) != _crc32(
                shared.values()
            ):
                raise ValueError("arrays are missing or damaged")
    except (*DAMAGED, ValueError) as error:
        raise DataError(
            f"{path} is cut off or holds no stored frames; run stage 6 again"
        ) from error
    return rows, shared


def _crc32(arrays: Iterable[np.ndarray]) -> int:
    crc = 0
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array).data, crc)
    return crc


def _checksums(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """A number for each frame of an utterance, (frames,).

    The inverted sum of its bytes, taken as little-endian words: a tenth of the time of reading
    them, where CRC-32 would take as long again; and zeros, which a disk leaves where nothing was
    written, do not pass.
    """
    total = np.zeros((), np.uint32)
    for array in arrays:
        rows = np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)
        words = rows.view(f"<u{math.gcd(rows.shape[1], 4)}")
        total = total + words.sum(axis=1, dtype=np.uint32)
    return ~total
