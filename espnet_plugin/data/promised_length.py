"""How long a recording should be, from its container, since libsndfile believes what is left of it.

CAF, FLAC, MP3 and whole Ogg files are left to libsndfile, which compares; an MP3 file without a
Xing header promises nothing. Formats that no corpus comes in are refused.
Sources: "Multimedia Programming Interface and Data Specifications 1.0" (RIFF), EBU Tech 3306
(RF64), Apple's "Audio Interchange File Format", Sony's Wave64, Sun's AU, RFC 3533 (Ogg), NIST's
SPHERE header.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import BinaryIO

from espnet_plugin.data.scp import DataError

# what programs write that cannot go back to fill the length in
_UNKNOWN = (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x7FFFF000)
_OGG_PAGE = struct.Struct("<4sBBq12xB")  # capture, version, flags, granule, ..., segments
_LAST_PAGE = 0x04
_COMPARED = (b"caff", b"fLaC")
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_OPUS_RATE = 48000  # of an Opus stream's positions, whatever its own rate


def promised_samples(path: str | Path, *, read: int, rate: int) -> int:
    """Samples of a channel that the container promises; ``read`` where it promises nothing.

    Args:
        path: The recording.
        read: Samples of a channel that were decoded.
        rate: Hz.

    Raises:
        DataError: It is an Ogg file without its end, or a file of which nothing can be said.
    """
    with open(path, "rb") as stream:
        magic = stream.read(4)
        if magic == b"OggS":
            return max(read, _ogg_samples(stream, rate) or 0)
        if magic in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM"):
            promised, held = _chunk_bytes(stream, magic)
        elif magic == b"riff":
            promised, held = _wave64_bytes(stream)
        elif magic in (b".snd", b"dns."):
            promised, held = _au_bytes(stream, ">II" if magic == b".snd" else "<II")
        elif magic == b"NIST":
            promised, held = _sphere_bytes(stream)
        elif magic in _COMPARED or _is_mpeg(magic):
            return read
        else:
            raise DataError("in a format that does not tell whether it is whole; convert it to WAV")
    # by bytes, which holds for any encoding of a fixed rate
    return read if promised <= held or held <= 0 else round(read * promised / held)


def _chunk_bytes(stream: BinaryIO, magic: bytes) -> tuple[int, int]:
    """Bytes of the chunk of samples, and how many of them are there."""
    form = "<4sI" if magic in (b"RIFF", b"RF64", b"BW64") else ">4sI"
    end = stream.seek(0, os.SEEK_END)
    stream.seek(12)
    long_size = 0
    while len(header := stream.read(8)) == 8:
        name, size = struct.unpack(form, header)
        if name == b"ds64":
            long_size = struct.unpack("<8xQ", stream.read(16).ljust(16, b"\0"))[0]
            size -= 16
        elif name in (b"data", b"SSND", b"BODY"):
            if size == 0xFFFFFFFF and long_size:
                size = long_size
            held = end - stream.tell()
            return (0, held) if size in _UNKNOWN else (size, held)
        stream.seek(size + size % 2, os.SEEK_CUR)
    return 0, 0


def _wave64_bytes(stream: BinaryIO) -> tuple[int, int]:
    end = stream.seek(0, os.SEEK_END)
    stream.seek(40)
    while len(header := stream.read(24)) == 24:
        size = struct.unpack("<16xQ", header)[0] - 24  # which counts the header
        if header[:16] == _W64_DATA:
            return size, end - stream.tell()
        if size < 0:
            break
        stream.seek(min(size + -size % 8, end), os.SEEK_CUR)
    return 0, 0


def _au_bytes(stream: BinaryIO, form: str) -> tuple[int, int]:
    begin, size = struct.unpack(form, stream.read(8).ljust(8, b"\0"))
    held = stream.seek(0, os.SEEK_END) - begin
    return (0, held) if size in _UNKNOWN else (size, held)


def _is_mpeg(magic: bytes) -> bool:
    """Whether a file begins with a frame of MPEG audio, or with an ID3 tag before one."""
    return magic[:3] == b"ID3" or magic[:1] == b"\xff" and magic[1:2] >= b"\xe0"


def _sphere_bytes(stream: BinaryIO) -> tuple[int, int]:
    end = stream.seek(0, os.SEEK_END)
    stream.seek(8)
    size = int(stream.read(8).strip() or 0)
    stream.seek(0)
    header = stream.read(size)
    promised = 1
    for name in (rb"sample_count", rb"channel_count", rb"sample_n_bytes"):
        found = re.search(rb"^%s -i (\d+)" % name, header, re.MULTILINE)
        if not found:
            return 0, 0
        promised *= int(found[1])
    return promised, end - size


def _ogg_samples(stream: BinaryIO, rate: int) -> int | None:
    """Position of the last page, when a part of it is missing; None: all is there."""
    head = stream.read(64)
    end = stream.seek(0, os.SEEK_END)
    tail_begin = stream.seek(max(0, end - 2 * 65536))  # a page has 65,307 bytes at most
    tail = stream.read()
    place = tail.rfind(b"OggS\0")
    if place < 0 or len(tail) - place < _OGG_PAGE.size:
        raise DataError("cut off: its last page is missing")
    _, _, flags, position, segments = _OGG_PAGE.unpack_from(tail, place)
    if not flags & _LAST_PAGE:
        raise DataError("cut off: its last page is missing")
    sizes = tail[place + _OGG_PAGE.size :][:segments]
    if tail_begin + place + _OGG_PAGE.size + segments + sum(sizes) <= end:
        return None
    return position * rate // _OPUS_RATE if b"OpusHead" in head else position
