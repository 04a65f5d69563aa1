"""Decide whether a result is up to date, by what it was made from and with which options.

A file is compared by its stamp, which is quick, or its fingerprint, which is of its content. Many
results in a folder have a line each in a :class:`Manifest`; a single one has a record beside it. A
record with more than that (a released model) is compared by :func:`differing`. All are written
last, and a result without a fitting one is made again. So you can kill a run at any time, and
nothing has to be emptied first.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_plugin.data.scp import read_scp
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.hashing import hash_file
from espnet_plugin.utils.small_files import read_json

Stamp = list[int] | None
RECORD = "made_from.json"


def stamp(path: str | Path) -> Stamp:
    """Size of a file in bytes and time of its last change in ns, or None if it is missing."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return None
    return [stat.st_size, stat.st_mtime_ns]


def inode_stamp(path: str | Path) -> str | None:
    """A stamp with the inode's time, too; nobody can set that, so it shows a copy over the file."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return None
    return f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"


def content_hash(value: Any) -> str:
    """A hash of an option's value.

    A file counts by its content, a folder by its files. An ``.scp`` counts by its lines and the
    size and time of each file in it. Anything else (a model's name, a number) counts by itself.
    """
    digest = hashlib.sha256(b"" if _exists(value) else repr(value).encode())
    for file in _files(value):
        digest.update(f"{file.name}\n".encode("utf-8", "surrogateescape"))
        hash_file(file, digest)
        if file.suffix == ".scp":
            digest.update(repr([stamp(path) for path in read_scp(file).values()]).encode())
    return digest.hexdigest()


def maker_fingerprint(options: Mapping[str, Any]) -> str:
    """One fingerprint of all options that are given."""
    given = {name: content_hash(value) for name, value in options.items() if value is not None}
    return content_hash(given)


def _exists(value: Any) -> bool:
    return isinstance(value, (str, Path)) and bool(str(value)) and os.path.exists(value)


def _files(value: Any) -> list[Path]:
    if not _exists(value):
        return []
    path = Path(value)
    return [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())


@dataclass(frozen=True)
class Note:
    """The result of a source.

    Attributes:
        result: The file that was made of it, or None if that failed.
        facts: Other facts, as JSON values.
    """

    result: str | None
    facts: Any = None


class Manifest:
    """Notes on the results in a folder, one line each, appended by several jobs.

    A note fits while id, source and maker are the same, and size and time of source and result too.

    Example:
        >>> with Manifest("dump/x", maker={"rate": 16000}) as manifest:
        ...     before = stamp("a.wav")  # what changes while it is read counts as changed
        ...     ...
        ...     manifest.add("a", "a.wav", before, result="dump/x/a.flac")
        >>> Manifest("dump/x", maker={"rate": 16000}).current({"a": "a.wav"})
        {'a': Note(result='dump/x/a.flac', facts=None)}

    Args:
        directory: The folder of the results.
        maker: Options that decide the results; files count by their content.
        job: Number of the job in a job array; each job has its own file.
    """

    def __init__(self, directory: str | Path, *, maker: Mapping[str, Any], job: str = "1") -> None:
        self.directory = Path(directory) / "manifest"
        self.path = self.directory / f"{job}.jsonl"
        self._maker = maker_fingerprint(maker)

    def current(self, sources: Mapping[str, str]) -> dict[str, Note]:
        """The notes of all jobs that fit: the newest result, or else a failure."""
        notes: dict[str, Note] = {}
        made: dict[str, int] = {}  # when each result was, by the clock of its file
        for path in sorted(self.directory.glob("*.jsonl")):
            with path.open("rb") as stream:
                for line in stream:
                    try:
                        key, maker, source, source_stamp, result, result_stamp, facts = json.loads(
                            line
                        )
                        if sources.get(key) != source or maker != self._maker:
                            continue
                    except (ValueError, TypeError, RecursionError):
                        continue  # a job was killed while it wrote, or the disk is damaged
                    if stamp(source) != source_stamp:
                        continue
                    if result is None:
                        notes.setdefault(key, Note(None, facts))
                    elif stamp(result) == result_stamp and result_stamp is not None:
                        if result_stamp[1] >= made.get(key, 0):
                            made[key], notes[key] = result_stamp[1], Note(result, facts)
        return notes

    def __enter__(self) -> Manifest:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._stream = self.path.open("a", buffering=1, encoding="utf-8")
        self._stream.write("\n")  # ends the line of a killed run
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(
        self,
        key: str,
        source: str,
        source_stamp: Stamp,
        *,
        result: str | Path | None,
        facts: Any = None,
    ) -> None:
        """Notes a complete result.

        Args:
            key: Id of the result.
            source: The file that it was made from.
            source_stamp: The source's stamp from before it was read.
            result: The file that was made, or None if that failed.
            facts: Other facts, as JSON values.
        """
        made = None if result is None else str(result)
        row = [key, self._maker, source, source_stamp, made, made and stamp(made), facts]
        self._stream.write(json.dumps(row) + "\n")


def record_path(result: str | Path) -> Path:
    """The record of a result, which is a file or a folder."""
    result = Path(result)
    return result / RECORD if result.is_dir() else result.with_name(f"{result.name}.{RECORD}")


def made_from(**inputs: Any) -> dict[str, list[str]]:
    """Notes the inputs of a result, for :func:`write_record`, before they are read.

    Returns:
        The value and the fingerprint of each input, by its name.
    """
    return {
        name: [str(value), content_hash(value)]
        for name, value in inputs.items()
        if value is not None
    }


def write_record(result: str | Path, record: Mapping[str, list[str]]) -> None:
    """Writes the inputs of a file or folder; call it when the file or folder is complete."""
    write_text(record_path(result), json.dumps(record, indent=2) + "\n")


def is_made_from(result: str | Path, record: Mapping[str, list[str]]) -> bool:
    """Whether a file or folder has just this record."""
    return read_record(record_path(result)) == record


def read_record(path: Path) -> dict[str, Any]:
    """Reads the facts in a record; there are none if it is missing or damaged, as after a kill."""
    try:
        record = read_json(path)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def differing(record: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Names of the wanted facts that a record lacks, or has otherwise."""
    return [name for name in wanted if name not in record or record[name] != wanted[name]]


def require_fresh(
    results: Iterable[str | Path], *, remedy: str, wanted: Mapping[str, Any] | None = None
) -> None:
    """Raises when an input of a result has changed.

    A missing input passes. A result without a record passes unless inputs are wanted.

    Args:
        results: Paths of files or folders.
        remedy: What the message advises.
        wanted: Required inputs of a result; the value is None for an input that was not given.

    Raises:
        DataError: If an input has changed; the message names all that did.
    """
    wanted = wanted or {}
    for result in results:
        path = record_path(result)
        if not path.is_file():
            if wanted:
                raise DataError(f"{path}: missing, so its inputs are unknown; {remedy}")
            continue
        try:
            record = json.loads(path.read_bytes())
            changed = [
                f"{name} ({value})"
                for name, (value, before, *_) in record.items()
                if name not in wanted and _exists(value) and content_hash(value) != before
            ]
            for name, value in wanted.items():
                old, before, *_ = record.get(name, (None, None))
                if (None if value is None else content_hash(value)) != before:
                    was = "" if old == str(value) else f"{old}, wanted: "
                    changed.append(f"{name} ({was}{value})")
        except (AttributeError, IndexError, RecursionError, TypeError, ValueError) as error:
            raise DataError(f"{path}: damaged ({error}); {remedy}") from error
        if changed:
            raise DataError(
                f"{result}: was made from another {', '.join(changed)} than is there now (files in "
                f"an .scp count by their times too; cp -a keeps them); {remedy}"
            )
