"""The zip archive of a checkpoint: one pickle, and tensor records that are mapped into memory."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor

_LOCAL_HEADER = 30  # bytes before the name in a zip entry


class DamagedCheckpointError(ValueError):
    """A file is not the checkpoint that it should be."""


class TensorArchive:
    """The records of a checkpoint's zip file; tensors are mapped, not read."""

    def __init__(self, path: Path) -> None:
        self.size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(4)
        if not zipfile.is_zipfile(path):
            raise DamagedCheckpointError(_why_no_archive(start))
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            pickles = [name for name in entries if name.split("/")[1:] == ["data.pkl"]]
            if len(pickles) != 1 or any(name.split("/")[1:2] == ["code"] for name in entries):
                raise DamagedCheckpointError(
                    "a zip file, but no checkpoint: expected one data.pkl and no TorchScript code"
                )
            self.prefix = pickles[0].removesuffix("data.pkl")
            order = entries.get(f"{self.prefix}byteorder")
            if order is not None and archive.read(order).strip() != b"little":
                raise DamagedCheckpointError(
                    "written on a big-endian machine, which is not supported"
                )
            self.pickle = archive.open(entries[pickles[0]])
        self._entries = entries
        storage = torch.UntypedStorage.from_file(str(path), False, self.size)
        self._bytes = torch.empty(0, dtype=torch.uint8).set_(storage)  # type: ignore[arg-type]

    def storage(self, key: str, dtype: torch.dtype, numel: int) -> Tensor:
        """The elements of a record, (numel,)."""
        entry = self._entries.get(f"{self.prefix}data/{key}")
        if entry is None:
            raise DamagedCheckpointError(
                f"damaged checkpoint: it lacks the tensor record data/{key}"
            )
        size = numel * dtype.itemsize
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size < size or size < 0:
            raise DamagedCheckpointError(
                f"damaged checkpoint: record data/{key} is no tensor of {size} bytes"
            )
        head = bytes(
            self._bytes[entry.header_offset : entry.header_offset + _LOCAL_HEADER].tolist()
        )
        if head[:4] != b"PK\x03\x04":
            raise DamagedCheckpointError(
                f"damaged checkpoint: record data/{key} is not where it should be"
            )
        names = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        begin = entry.header_offset + _LOCAL_HEADER + names
        if begin + size > self.size:
            raise DamagedCheckpointError(f"truncated file: record data/{key} goes beyond its end")
        raw = self._bytes[begin : begin + size]
        return (raw if begin % dtype.itemsize == 0 else raw.clone()).view(dtype)


def _why_no_archive(start: bytes) -> str:
    if start.startswith(b"PK\x03\x04"):
        return "truncated file: the checkpoint's zip archive has no end; download or copy it again"
    if start.startswith(b"\x80"):
        return (
            "in the format of PyTorch before 1.6 (a bare pickle), which is not read. Released "
            "SpeechCLIP checkpoints are zip archives; where you trust the "
            "file, save it again with a newer PyTorch"
        )
    return "no checkpoint: expected a zip archive as torch.save writes it"
