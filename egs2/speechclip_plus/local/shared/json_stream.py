"""Read the records of a large JSON file one after another.

SpokenCOCO's list is a quarter of a gigabyte; as Python objects it would be several.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from espnet_plugin.data.scp import DataError

_CHUNK = 1 << 20


class _Buffer:
    """Text of which the front is consumed while more is read behind."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.text = ""
        self.position = 0

    def more(self) -> bool:
        chunk = self.stream.read(_CHUNK)
        self.text = self.text[self.position :] + chunk
        self.position = 0
        return bool(chunk)

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            while self.position < len(self.text):
                if not self.text[self.position].isspace():
                    return self.text[self.position]
                self.position += 1
            if not self.more():
                return ""

    def value(self, decoder: json.JSONDecoder) -> Any:
        """The next JSON value."""
        while True:
            self.peek()
            try:
                value, end = decoder.raw_decode(self.text, self.position)
                # a number may go on in the next chunk
                if end < len(self.text) or not self.more():
                    self.position = end if end < len(self.text) else len(self.text)
                    return value
            except json.JSONDecodeError:
                if not self.more():
                    raise


def stream_records(path: Path, key: str) -> Iterator[Any]:
    """Yields the items of the array that stands under ``key``, or of a file that is an array.

    Args:
        path: The JSON file, UTF-8.
        key: Key of the outermost object whose value is the array.

    Raises:
        DataError: The file is no JSON, ends too early, or has no such array.
    """
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8") as stream:
        buffer = _Buffer(stream)
        try:
            start = buffer.peek()
            if start == "{":
                _enter(buffer, decoder, key, path)
                start = buffer.peek()
            if start != "[":
                raise DataError(f'{path}: expected {{"{key}": [...]}} or a list, found {start!r}')
            buffer.position += 1
            while (character := buffer.peek()) != "]":
                if not character:
                    raise DataError(f"{path}: ends in the middle; download it again")
                if character == ",":
                    buffer.position += 1
                    continue
                yield buffer.value(decoder)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path}: not JSON, or not downloaded to the end ({error}); download it again"
            ) from error


def _enter(buffer: _Buffer, decoder: json.JSONDecoder, key: str, path: Path) -> None:
    """Goes to the value of ``key`` in the outermost object."""
    buffer.position += 1
    seen = []
    while (character := buffer.peek()) != "}":
        if not character:
            break
        if character == ",":
            buffer.position += 1
            continue
        name = buffer.value(decoder)
        if buffer.peek() != ":":
            break
        buffer.position += 1
        if name == key:
            return
        seen.append(str(name))
        buffer.peek()
        buffer.value(decoder)
    raise DataError(f'{path}: has no "{key}"; its keys are {", ".join(seen[:8]) or "none"}')
