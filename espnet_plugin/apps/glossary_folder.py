"""A glossary as a folder: a table, the snippets that it names, and a page that plays them."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from espnet_plugin.apps.glossary import Entry, Place
from espnet_plugin.media.formats import wav_part
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.progress import counted, progress
from espnet_plugin.utils.scratch import new_directory
from espnet_plugin.utils.templates import templates_in

GLOSSARY_FILE, PAGE, SNIPPETS = "glossary.tsv", "index.html", "snippets"
OURS = {GLOSSARY_FILE, PAGE, SNIPPETS}
COLUMNS = ("keyword", "rank", "recording", "start", "end", "score", "snippet")
AIR = 0.15  # seconds on both sides; a word's first and last sounds are often outside its span
_TEMPLATES = templates_in(Path(__file__).parent)
Row = tuple[Entry, int, Place, str]  # a keyword, its place's rank from 1 on, and the snippet


def check_glossary_folder(directory: Path, data: Path) -> None:
    """Looks whether a glossary may be written; this is quick, to come before a model is loaded.

    Args:
        directory: Directory of the glossary. A glossary that is there is replaced.
        data: Path of its recordings.

    Raises:
        DataError: If the folder holds something else, or is in a folder of recordings.
    """
    if directory.exists() and not directory.is_dir():
        raise DataError(f"{directory}: a file; name a new folder")
    inside = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
    others = sorted(inside if GLOSSARY_FILE not in inside else inside - OURS)
    if others:
        raise DataError(f"{directory} holds other files ({others[0]}); name a new folder")
    if data.is_dir() and directory.resolve().is_relative_to(data.resolve()):
        raise DataError(
            f"{directory} is in {data}, where the snippets would be recordings the next time; "
            "name a folder elsewhere"
        )


def write_glossary(
    directory: Path,
    entries: Sequence[Entry],
    *,
    recordings: int,
    problems: Mapping[str, str],
    note: str | None = None,
) -> int:
    """Writes a glossary; it appears when it is complete.

    Args:
        directory: Directory that :func:`check_glossary_folder` allows.
        entries: Keywords of the glossary.
        recordings: Number of recordings that were heard.
        problems: Recordings that could not be used, with the reasons.
        note: Sentence that the page says about the keywords.

    Returns:
        The number of snippets. Places that can no longer be read are left out with a warning.

    Raises:
        OSError: If the disk is full or read-only.
    """
    with new_directory(directory, force=True) as target:
        (target / SNIPPETS).mkdir()
        rows = _cut(entries, target)
        with (target / GLOSSARY_FILE).open(
            "w", encoding="utf-8", errors="surrogateescape", newline=""
        ) as stream:
            table = csv.writer(stream, "excel-tab", lineterminator="\n")
            table.writerow(COLUMNS)
            for entry, rank, place, snippet in rows:
                start, end = place.word.span
                times = (f"{start:.3f}", f"{end:.3f}", f"{place.word.score:.4f}")
                table.writerow((entry.word, rank, place.recording, *times, snippet))
        page = _TEMPLATES.get_template("glossary.html.jinja").render(
            groups=[(entry, list(group)) for entry, group in groupby(rows, key=lambda row: row[0])],
            recordings=recordings,
            problems=problems,
            note=note,
            table=GLOSSARY_FILE,
            counted=counted,
        )
        (target / PAGE).write_bytes(page.encode("utf-8", "replace"))  # not every name is text
    return len(rows)


def _cut(entries: Sequence[Entry], target: Path) -> list[Row]:
    rows: list[Row] = []
    for number, entry in enumerate(progress(entries, description="snippets", unit="keyword"), 1):
        plain = re.sub(r"[^a-z0-9]+", "-", entry.word.lower()).strip("-")[:40]
        rank = 0
        for place in entry.places:
            snippet = f"{SNIPPETS}/{number:05d}_{plain}_{rank + 1}.wav"
            try:
                start, end = place.word.span
                wav = wav_part(place.path, max(0.0, start - AIR), end + AIR)
            except ValueError as error:  # gone or changed meanwhile
                logging.warning(f"left out: {place.path}: {error}")
                continue
            (target / snippet).write_bytes(wav)
            rank += 1
            rows.append((entry, rank, place, snippet))
    return rows
