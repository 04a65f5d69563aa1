"""Store arrays with a row per frame, e.g. hidden states, and read any range of them.

A safetensors file, ``frames.<job>.<number>.safetensors``, holds many utterances. The frames of an
utterance are contiguous in ``frames`` and in each other array but the shared ones; every read
verifies their ``checksum``. A list such as ``speech_states.scp`` has lines
``<utterance> <file> <first frame> <number of frames>``.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from espnet_plugin.data.array_store import ArrayStore
from espnet_plugin.data.manifest import Note
from espnet_plugin.data.record import Record
from espnet_plugin.data.scp import read_scp
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.errors import DataError

Arrays = Mapping[str, np.ndarray]

FILE_BYTES = 256 * 2**20  # what a killed job loses at most
FRAMES = "frames"  # the array that the others belong to
CHECKSUM = "checksum"
CHECKSUM_BYTES = 4  # per frame
SHARED, SHARED_CRC32 = "shared", "shared_crc32"
SECONDS_UNTIL_NOTED = 60.0


class FrameStore(ArrayStore):
    """A directory of files that hold the frames of many utterances, see :class:`ArrayStore`.

    Args:
        directory, maker, job: Arguments of :class:`ArrayStore`.
        files: As there, but of all ids: files of frames that none of them uses are removed.
        shared: Names of the arrays without frames, which all utterances of a file share.
    """

    def __init__(
        self,
        directory: str | Path,
        files: Mapping[str, str],
        *,
        maker: Record,
        job: str = "1",
        shared: Collection[str] = (),
    ) -> None:
        there = list(Path(directory).glob("frames.*.safetensors"))
        there += Path(directory).glob(".frames.*.safetensors")  # half written by a killed job
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
            # another job may have removed it, or may be about to note it
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > SECONDS_UNTIL_NOTED:
                    path.unlink()

    @staticmethod
    def _entry(note: Note) -> str:
        return str(_Place(str(note.result), *note.facts))

    def discard_damaged(self, keys: Iterable[str]) -> None:
        """Reads the stored frames of ids, and forgets damaged ones so that they are made again."""
        for key in keys:
            if key not in self._entries:
                continue
            place = _Place.parse(self._entries[key])
            try:
                _read(place, 0, place.frames)
            except (OSError, ValueError) as error:
                logging.warning(f"{key} is made again: {error}")
                del self._entries[key]

    def save(self, items: Mapping[str, Any]) -> None:
        """Stores the arrays of each id by their names, {"frames": (frames, ...), ...}.

        They are written when a file is full, and by :meth:`write_list`.
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
        """Does as :meth:`ArrayStore.write_list`; lines have file, first frame, number of frames."""
        self._write()
        super().write_list(path, keys, unreadable, what=what)

    def _write(self) -> None:
        """Writes the waiting arrays into a file, and notes it."""
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
        content = save({name: np.concatenate(rows) for name, rows in parts.items()}, metadata)
        path = self._free_path()
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
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
    """The frames in a list of :class:`FrameStore`.

    As a mapping it gives an utterance's range of frames, [0, frames], which you can narrow.
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
        """The folders of the files."""
        paths = {_Place.parse(entry).path for entry in self._entries.values()}
        return sorted({Path(path).parent for path in paths})

    def read(self, key: str, start: int = 0, stop: int | None = None) -> dict[str, np.ndarray]:
        """Reads frames [start, stop), {"frames": (frames, ...), ...}, and shared arrays.

        Raises:
            DataError: If the file is cut off, or what is read is not what was written.
        """
        place = _Place.parse(self._entries[key])
        return _read(place, start, place.frames if stop is None else stop)


@dataclass(frozen=True)
class _Place:
    """The file of an utterance's frames, and their place in it."""

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


def _read(place: _Place, start: int, stop: int) -> dict[str, np.ndarray]:
    arrays, shared = {}, {}
    first, last = place.first + start, place.first + stop
    try:
        with safe_open(place.path, framework="numpy") as file:  # checks the file's length
            metadata = file.metadata()
            for name in file.keys():  # noqa: SIM118
                if name in metadata[SHARED].split():
                    shared[name] = file.get_tensor(name)
                else:
                    arrays[name] = file.get_slice(name)[first:last]
        checksums = arrays.pop(CHECKSUM)
        if FRAMES not in arrays or int(metadata[SHARED_CRC32]) != _crc32(shared.values()):
            raise ValueError("arrays are missing or damaged")
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        raise DataError(
            f"{place.path} is cut off or holds no stored frames; run stage 6 again"
        ) from error
    if any(len(array) != last - first for array in (*arrays.values(), checksums)):
        raise DataError(f"{place.path} has fewer frames than are listed; run stage 6 again")
    wrong = np.flatnonzero(checksums != _checksums(arrays.values()))
    if len(wrong):
        raise DataError(
            f"{place.path} is damaged in {len(wrong)} of the frames from {first} to {last}; run "
            "stage 6 again, which repairs them"
        )
    return {**arrays, **shared}


def _crc32(arrays: Iterable[np.ndarray]) -> int:
    crc = 0
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array).data, crc)
    return crc


def _checksums(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """A number for each frame of an utterance, (frames,).

    It is the inverted sum of its bytes as little-endian words. It takes a tenth of the reading
    time; CRC-32 would take as long as reading. Zeros, which a disk leaves in unwritten parts, do
    not pass.
    """
    total = np.zeros((), np.uint32)
    for array in arrays:
        rows = np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)
        words = rows.view(f"<u{math.gcd(rows.shape[1], 4)}")
        total = total + words.sum(axis=1, dtype=np.uint32)
    return ~total
