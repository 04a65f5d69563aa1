"""Words with their times, for a spreadsheet (.tsv), Praat (.TextGrid) and ELAN (.eaf).

The forms are those of Praat's manual (*TextGrid file formats*, long text file) and of ELAN's schema
EAFv3.0.
"""

from __future__ import annotations

import csv
import mimetypes
import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter
from pathlib import Path

from espnet_plugin.data.words import SpokenWord
from espnet_plugin.media.audio import read_header
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.templates import templates_in

WORDS_FILE = "words.tsv"
COLUMNS = ("recording", "word", "start", "end", "score")
_TEMPLATES = templates_in(Path(__file__).parent)


def check_output(output: Path) -> None:
    """Looks whether words may be written; this is quick, to come before a model is loaded.

    Args:
        output: A table that ends in .tsv, or a folder.

    Raises:
        DataError: If it is there, or has another ending.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise DataError(
            f"{output}: is there already, perhaps with somebody's corrections; give another name"
        )
    if output.suffix not in ("", ".tsv"):
        raise DataError(
            f"{output}: give a table that ends in .tsv; or a folder, which gets the table and, of "
            "each recording, a .TextGrid for Praat and an .eaf for ELAN"
        )


def write_words(
    output: Path,
    heard: Iterable[tuple[str, str, Sequence[SpokenWord]]],
    recordings: Collection[str],
) -> dict[str, int]:
    """Writes the words of each recording as soon as they are known.

    Args:
        output: Table or folder that :func:`check_output` allows. In a folder, a TextGrid and an
            .eaf have the name of their recording.
        heard: Name, path and words of each recording.
        recordings: Paths of all recordings.

    Returns:
        The numbers of recordings and of words.

    Raises:
        ValueError: If a folder is wanted and the words have no times.
        OSError: If the disk is full or read-only.
    """
    table = output if output.suffix else output / WORDS_FILE
    names, written = _names(recordings), Counter(recordings=0, words=0)
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("x", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        rows = csv.writer(stream, "excel-tab", lineterminator="\n")
        rows.writerow(COLUMNS)
        for _, recording, words in heard:
            for word in words:
                score = f"{word.score:.3f}"
                rows.writerow((recording, _plain(word.word), word.start, word.end, score))
            stream.flush()
            if not output.suffix:
                found, path = one_tier(words), output / names[recording]
                write_text(f"{path}.TextGrid", textgrid(found, read_header(recording).seconds))
                write_text(f"{path}.eaf", elan(found, recording))
            written.update(recordings=1, words=len(words))
    return dict(written)


def one_tier(words: Iterable[SpokenWord]) -> list[SpokenWord]:
    """Words of one tier, which must not overlap, as CIF's segments do by a frame.

    A word ends where the next one begins, at the latest. Times are whole milliseconds.

    Raises:
        ValueError: If the words have no times.
    """
    found: list[SpokenWord] = []
    for word in words:
        start, end = map(_to_millisecond, word.span)
        if found:
            found[-1] = replace(found[-1], end=min(found[-1].span[1], start))
        found.append(SpokenWord(_plain(word.word), word.score, start, end))
    return found


def textgrid(words: Sequence[SpokenWord], seconds: float) -> str:
    """The TextGrid of a recording of so many seconds; between its words, intervals are empty."""
    end = max([_to_millisecond(seconds), *(word.span[1] for word in words)])
    times = [0.0, *(time for word in words for time in word.span), end]
    gaps = (pair for pair in zip(times[::2], times[1::2], strict=True) if pair[1] > pair[0])
    intervals = [*words, *(SpokenWord("", None, *gap) for gap in gaps)]
    intervals.sort(key=attrgetter("start"))
    return _TEMPLATES.get_template("words.TextGrid.jinja").render(intervals=intervals, end=end)


def elan(words: Sequence[SpokenWord], recording: str) -> str:
    """The .eaf document of a recording, which it names by its absolute path."""
    return _TEMPLATES.get_template("words.eaf.jinja").render(
        words=words,
        date=datetime.now().astimezone().isoformat(timespec="seconds"),
        url=Path(os.path.abspath(recording)).as_uri(),
        kind=mimetypes.MimeTypes().guess_type(recording)[0] or "unknown",
    )


def _names(recordings: Collection[str]) -> dict[str, str]:
    """Names of a recording's files below a folder, like its own below the folder of all."""
    paths = {recording: os.path.abspath(recording) for recording in recordings}
    top = os.path.commonpath([os.path.dirname(path) for path in paths.values()])
    stems = [os.path.splitext(path)[0] for path in paths.values()]
    alike = Counter(stems)
    return {
        recording: os.path.relpath(stem if alike[stem] == 1 else path, top)
        for (recording, path), stem in zip(paths.items(), stems, strict=True)
    }


def _to_millisecond(seconds: float) -> float:
    return round(1000 * seconds) / 1000


def _plain(word: str) -> str:
    """A word without what neither XML nor a table's line can hold, but some sub-words have."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in word)
