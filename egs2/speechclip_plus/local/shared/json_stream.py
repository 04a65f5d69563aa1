"""Read the records of a large JSON file one after another.

Karpathy's splits of MSCOCO are 144 MB; as Python objects they would be nearly a gigabyte.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import ijson

from espnet_plugin.data.scp import DataError

# a corpus's lists have five levels; ijson's memory grows with the square of the depth
_DEEPEST = 64


def stream_records(path: Path, key: str) -> Iterator[Any]:
    """Yield the items of the array under ``key``, or of a file that is an array.

    Args:
        path: The JSON file, UTF-8.
        key: Key of the outermost object whose value is the array.

    Raises:
        DataError: The file is not JSON, ends too early, or has no such array.
    """
    empty = True
    with path.open("rb") as stream:
        is_array = stream.peek().lstrip().startswith(b"[")
        try:
            _check_depth(stream, path)
            stream.seek(0)
            for record in ijson.items(stream, "item" if is_array else f"{key}.item"):
                empty = False
                yield record
            stream.seek(0)
            names = [key] if is_array or not empty else [k for k, _ in ijson.kvitems(stream, "")]
        except ijson.JSONError as error:
            reason = str(error).partition("\n")[0]
            raise DataError(
                f"{path}: not JSON, or not downloaded to the end ({reason}); download it again"
            ) from error
    if key not in names:
        raise DataError(f'{path}: has no "{key}"; its keys are {", ".join(names[:8]) or "none"}')


def _check_depth(stream: BinaryIO, path: Path) -> None:
    depth = 0
    for event, _ in ijson.basic_parse(stream):
        depth += event.startswith("start_") - event.startswith("end_")
        if depth > _DEEPEST:
            raise DataError(f"{path}: nested more than {_DEEPEST} deep; a corpus's list is not")
