"""A glossary: for each keyword, the places in recordings where it is clearest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_plugin.data.scp import read_scp
from espnet_plugin.data.words import SpokenWord, without_doubtful
from espnet_plugin.media.audio import is_recording
from espnet_plugin.media.folders import find_files, require_permission
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.files import require_files

if TYPE_CHECKING:
    from espnet_plugin.apps.search.index import Index

NUMBER = 5


@dataclass(frozen=True)
class Place:
    """Where a keyword is in a recording.

    Attributes:
        recording: Name of the recording.
        path: Path of the recording.
        word: The keyword with its times.
    """

    recording: str
    path: str
    word: SpokenWord


@dataclass(frozen=True)
class Entry:
    """A keyword of a glossary.

    Attributes:
        word: The keyword as people write it.
        places: Places of the keyword, the clearest ones first.
        heard: Number of times that it was found.
        recordings: Number of recordings in which it was found.
    """

    word: str
    places: tuple[Place, ...]
    heard: int
    recordings: int

    @property
    def initial(self) -> str:
        """Its first letter; # for all words that begin with something else."""
        return self.word[0].upper() if self.word[:1].isalpha() else "#"


@dataclass
class _Heard:
    """Places of a keyword that are kept while recordings come, ``number`` of each kind."""

    clearest: list[Place] = field(default_factory=list)  # of each recording
    others: list[Place] = field(default_factory=list)
    heard: int = 0
    recordings: int = 0


class Glossary:
    """Collects keywords; its memory grows with their number, not with that of recordings.

    Args:
        number: Number of places of a keyword, which are in different recordings if there are any.

    Attributes:
        recordings: Number of recordings that were added.
    """

    def __init__(self, number: int = NUMBER) -> None:
        self.number = number
        self.recordings = 0
        self._heard: dict[str, _Heard] = {}

    def add(self, recording: str, path: str, words: Iterable[SpokenWord]) -> None:
        """Adds a recording, by its name and its file, with all its words.

        Raises:
            ValueError: If the words have no times.
        """
        self.recordings += 1
        found: dict[str, list[Place]] = {}
        for word in words:
            found.setdefault(word.word, []).append(Place(recording, path, word))
        for name, places in found.items():
            first, *others = _by_clearness(places)
            kept = self._heard.setdefault(name, _Heard())
            kept.clearest = _by_clearness([*kept.clearest, first])[: self.number]
            kept.others = _by_clearness([*kept.others, *others])[: self.number]
            kept.heard += len(places)
            kept.recordings += 1

    def entries(self) -> list[Entry]:
        """The keywords in alphabetical order."""
        return [
            Entry(
                word,
                tuple(_by_clearness([*kept.clearest, *kept.others][: self.number])),
                kept.heard,
                kept.recordings,
            )
            for word, kept in sorted(self._heard.items(), key=lambda item: item[0].casefold())
        ]


def _by_clearness(places: Iterable[Place]) -> list[Place]:
    return sorted(places, key=_clearness)


def _clearness(place: Place) -> tuple[float, str, float]:
    start, _ = place.word.span
    return -(place.word.score or 0.0), place.recording, start


def find_recordings(data: str | Path) -> dict[str, str]:
    """Finds the file of each recording, by its name.

    Args:
        data: A recording; a data directory, whose ``wav.scp`` has the names; or a folder.

    Raises:
        DataError: If there is no recording.
    """
    folder = os.path.expanduser(data)
    if not os.path.isdir(folder):
        require_files([folder])
        return {os.path.basename(folder): folder}
    require_permission(folder)
    table = os.path.join(folder, "wav.scp")
    if os.path.isfile(table):
        found = read_scp(table)
        for name, path in found.items():
            if path.endswith("|"):
                raise DataError(
                    f"{table}: {name} is a command, not a file; write its output to a file first"
                )
    else:
        found = {os.path.relpath(path, folder): path for path in find_files([folder], is_recording)}
    if not found:
        raise DataError(f"{data}: no recording in it; give a folder of recordings")
    return found


def words_of_index(
    index: Index, problems: dict[str, str], *, min_score: float | None = None
) -> Iterator[tuple[str, str, list[SpokenWord]]]:
    """Yields name, file and words of each recording of an index; no model is needed.

    Args:
        index: Index whose words have at least the ``min_score`` that its model had then.
        problems: Gets the recordings that cannot be used, with the reasons.
        min_score: Score below which words are left out, or None to keep all.
    """
    problems |= {
        path: why.removeprefix(f"{path}: ")
        for path, why in index.problems().items()
        if is_recording(path)
    }
    least = -1.0 if min_score is None else min_score
    for path, words in index.spoken_words():
        if words is None:
            problems[path] = "gone, changed or copied since it was indexed; update the index"
        else:
            yield path, path, list(without_doubtful(words, least))
