"""Find out whether a recording is cut off: libsndfile reads what is left without an error.

For CAF, FLAC, MP3 and whole Ogg files libsndfile compares the lengths itself. For WAV, RF64, AIFF,
AU and Wave64 its log has a line such as ``data : 32000 (should be 19182)``. Other formats are
refused. Sources: RFC 3533 (Ogg), NIST's SPHERE header.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import BinaryIO

from espnet_plugin.data.scp import DataError

# bytes of the samples; of RF64 and Wave64 those of the whole file
_SHOULD_BE = re.compile(
    r"^ *(?:data|SSND|BODY|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)", re.MULTILINE
)
_LOGGED = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"riff", b".snd", b"dns.")
_COMPARED = (b"caff", b"fLaC")
# written by programs that cannot go back to fill in the length
_UNKNOWN = (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x7FFFF000)
_OGG_PAGE = struct.Struct("<4sBBq12xB")  # capture, version, flags, granule, ..., segments
_LAST_PAGE = 0x04
_OPUS_RATE = 48000  # of an Opus stream's positions, whatever its own rate


def promised_samples(path: str | Path, *, read: int, rate: int, log: str) -> int:
    """Samples of a channel that the container promises; ``read`` if it promises nothing.

    Args:
        path: The recording.
        read: Samples of a channel that were decoded.
        rate: Hz.
        log: What libsndfile logged, ``extra_info`` of a ``SoundFile``.

    Raises:
        DataError: It is an Ogg file without its end, or of a format without a known length.
    """
    with open(path, "rb") as stream:
        magic = stream.read(4)
        if magic == b"OggS":
            return max(read, _ogg_samples(stream, rate) or 0)
        if magic in _COMPARED or _is_mpeg(magic):
            return read
        if magic == b"NIST":
            promised, held = _sphere_bytes(stream)
        elif magic in _LOGGED:
            found = _SHOULD_BE.search(log)
            promised, held = map(int, found.groups()) if found else (0, 0)
        else:
            raise DataError("in a format that does not show whether it is whole; convert it to WAV")
    # by bytes, which holds for any encoding of a fixed rate
    whole = promised <= held or held <= 0 or promised in _UNKNOWN
    return read if whole else round(read * promised / held)


def _is_mpeg(magic: bytes) -> bool:
    """Whether a file begins with a frame of MPEG audio, or with an ID3 tag before one."""
    return magic[:3] == b"ID3" or magic[:1] == b"\xff" and magic[1:2] >= b"\xe0"


def _sphere_bytes(stream: BinaryIO) -> tuple[int, int]:
    """Bytes of the samples by the header, and how many of them are there."""
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
    """Position of the last page if a part of it is missing; None: nothing is missing."""
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
