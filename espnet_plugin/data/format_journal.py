"""What a formatting job has finished, so that a restarted one goes on where it was killed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from espnet_plugin.data.audio import Recording
from espnet_plugin.data.scp import read_lines
from espnet_plugin.data.sorted_tables import groups, sort_file


@dataclass(frozen=True)
class Item:
    """One utterance's outcome: a recording, or why it is skipped."""

    utterance: str
    source: str
    recording: Recording | None = None
    problem: str | None = None


class Journal:
    """Finished items, a line each, so that a restarted job goes on where it was killed.

    A recording counts as done while its source has the same size and time and the result is there.
    """

    def __init__(self, path: Path, settings: str) -> None:
        self.path = path
        self.settings = settings  # another rate or format makes old entries void

    @staticmethod
    def _stamp(source: str) -> list[int]:
        stat = Path(source).stat()
        return [stat.st_size, stat.st_mtime_ns]

    def add(self, items: Sequence[Item]) -> None:
        """Appends the good items; bad ones are tried again next time."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            for item in items:
                if item.recording is None:
                    continue
                row = [self.settings, item.source, self._stamp(item.source), vars(item.recording)]
                stream.write(f"{item.utterance} {json.dumps(row)}\n")

    @contextmanager
    def sorted_copy(self) -> Iterator[Path]:
        """All journals of this folder in one file, sorted by utterance."""
        with tempfile.TemporaryDirectory(prefix="journal-") as directory:
            copy = Path(directory) / "journal"
            with copy.open("w", encoding="utf-8") as stream:
                for path in sorted(self.path.parent.glob("journal.*.jsonl")):
                    stream.writelines(f"{key} {row}\n" for key, row in read_lines(path))
            sort_file(copy)
            yield copy

    def valid(self, utterance: str, source: str, rows: Sequence[str]) -> Item | None:
        """What the newest valid of an utterance's entries says."""
        for row in reversed(rows):
            try:
                settings, entry_source, stamp, fields = json.loads(row)
            except ValueError:
                continue  # the line during which a job was killed
            if settings != self.settings or entry_source != source:
                continue
            recording = Recording(**fields)
            if Path(recording.path).is_file() and Path(source).is_file():
                if self._stamp(source) == stamp:
                    return Item(utterance, source, recording)
        return None


def with_journal(
    sources: Iterator[tuple[str, str]], journal: Journal, entries: Path
) -> Iterator[tuple[str, str, Item | None]]:
    """Pairs each source with what the journal says about it.

    Args:
        sources: Utterance and recording, sorted.
        journal: Tells which entries are valid.
        entries: Its sorted copy.
    """
    remembered = groups(entries)
    head = next(remembered, None)
    for utterance, source in sources:
        while head is not None and head[0].encode() < utterance.encode():
            head = next(remembered, None)
        rows = head[1] if head is not None and head[0] == utterance else []
        yield utterance, source, journal.valid(utterance, source, rows)
