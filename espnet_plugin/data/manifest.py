"""The results in a folder, a line each, by which a stopped run continues.

A line is written when its result is complete, and a result without a fitting line is made again. So
you can kill a run at any time, and nothing has to be emptied first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_plugin.data.record import Record
from espnet_plugin.utils.hashing import Stamp, stamp


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
        >>> maker = make_record("recordings", {"rate": 16000})
        >>> with Manifest("dump/x", maker=maker) as manifest:
        ...     before = stamp("a.wav")  # what changes while it is read counts as changed
        ...     ...
        ...     manifest.add("a", "a.wav", before, result="dump/x/a.flac")
        >>> Manifest("dump/x", maker=maker).current({"a": "a.wav"})
        {'a': Note(result='dump/x/a.flac', facts=None)}

    Args:
        directory: The folder of the results.
        maker: Record of what makes the results, without their sources.
        job: Number of the job in a job array; each job has its own file.
    """

    def __init__(self, directory: str | Path, *, maker: Record, job: str = "1") -> None:
        self.directory = Path(directory) / "manifest"
        self.path = self.directory / f"{job}.jsonl"
        self._maker = maker.digest()

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
