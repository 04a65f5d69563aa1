"""A corpus in a folder with wavs/, images/ and one table.

The table is the only .tsv file in the folder: UTF-8, tab-separated, with a header and one row per
recording.

    wav        relative to wavs/                    required, but optional with --speak true
    image      relative to images/                  required
    split      train, dev or test                   optional: 8 : 1 : 1; of three to nine images,
                                                    the last two become dev and test
    speaker    who speaks                           optional
    language   what is spoken, such as sw           optional; captions are English then
    caption    what is said                         optional, in all rows or none; required with
                                                    --speak true
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from local.shared.layout import contents, find_one
from local.shared.spoken_captions import (
    SPLIT_NAMES,
    SPLITS,
    Corpus,
    SpokenCaption,
    clean_caption,
    safe_id,
)

from espnet_plugin.data.scp import text_lines
from espnet_plugin.utils.errors import DataError

REMEDY = (
    "A corpus of your own is a folder of images and recordings with the same names. It may also "
    "hold wavs/, images/ and one .tsv file with the columns wav, image and, as you like, split, "
    "speaker, language, caption; or Parquet files; see README.md. Name it with --custom_root"
)
REQUIRED = ("wav", "image")
REQUIRED_TO_SPEAK = ("image", "caption")
COLUMNS = ("wav", "image", "split", "speaker", "language", "caption")


def find_table(root: Path) -> Path:
    """The one .tsv file of the folder.

    Raises:
        DataError: If there is none, or there are several.
    """
    tables = sorted(path for path in root.glob("*.tsv") if path.is_file())
    if len(tables) != 1:
        found = ", ".join(path.name for path in tables) or contents(root)
        raise DataError(f"{root}: looked for one .tsv file, found: {found}. {REMEDY}")
    return tables[0]


def read_rows(
    table: Path, *, required: Sequence[str] = REQUIRED
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of each line, and its values by column.

    Args:
        table: The .tsv file.
        required: Columns that it must have.

    Raises:
        DataError: If the header lacks a column or has an unknown one, or a row has another length.
    """
    lines = text_lines(table)
    header = [name.strip().lower() for name in next(lines, (1, ""))[1].split("\t")]
    missing = [name for name in required if name not in header]
    unknown = [name for name in header if name not in COLUMNS]
    if missing or unknown or len(set(header)) != len(header):
        possible = [name for name in COLUMNS if name not in required]
        raise DataError(
            f"{table}:1: the header is {header}; needed: {', '.join(required)}; possible: "
            f"{', '.join(possible)}; each once, separated by tabs. {REMEDY}"
        )
    for number, line in lines:
        if not line.strip():
            continue
        row = line.split("\t")
        if len(row) != len(header):
            raise DataError(
                f"{table}:{number}: columns: {len(row)} instead of {len(header)}: "
                f"{' | '.join(row)[:80]!r}"
            )
        yield number, {k: v.strip() for k, v in zip(header, row, strict=True)}


def drawn_split(place: int, images: int) -> str:
    """The split of an image: of ten in order, the ninth goes to dev and the tenth to test.

    Of three to nine images, the last two do.
    """
    turn = min(10, images)
    return {turn - 2: "dev", turn - 1: "test"}.get(place % 10, "train")


def spoken_captions(
    table: Path, recordings: Path, images: Path, *, with_text: bool, required: Sequence[str]
) -> Iterator[SpokenCaption]:
    """Yield the spoken caption of every row of the table.

    Args:
        table: The .tsv file.
        recordings: Folder of the recordings.
        images: Folder of the images.
        with_text: Whether the column ``caption`` is filled.
        required: Columns that the table must have.

    Raises:
        DataError: If a row names no file or no known split, or splits share an image or have none.
    """
    images_there = len({row["image"] for _, row in read_rows(table, required=required)})
    split_of: dict[str, str] = {}
    file_of: dict[str, str] = {}
    numbers: dict[str, dict[str, int]] = {}  # of the recordings of an image
    for number, row in read_rows(table, required=required):
        for name in REQUIRED:
            if name in required and not row[name]:
                raise DataError(f"{table}:{number}: the column {name} is empty")
        # of a name such as "." nothing is left
        image = safe_id(re.sub(r"\.[^./]*$", "", row["image"])) or "-"
        if file_of.setdefault(image, row["image"]) != row["image"]:
            raise DataError(
                f"{table}:{number}: {row['image']} and {file_of[image]} would have the same id"
            )
        given = row.get("split", "").lower()
        split = SPLIT_NAMES.get(given, "")
        if not given:
            split = split_of.get(image) or drawn_split(len(split_of), images_there)
        if not split:
            raise DataError(f"{table}:{number}: split {given!r} is none of {', '.join(SPLITS)}")
        if split_of.setdefault(image, split) != split:
            raise DataError(
                f"{table}:{number}: image {row['image']} is in {split} and in {split_of[image]}; "
                "all recordings of an image belong to one split"
            )
        known = numbers.setdefault(image, {})
        wav = row.get("wav", "")
        yield SpokenCaption(
            split=split,
            utterance=f"{image}_{known.setdefault(wav or f'line {number}', len(known))}",
            image=image,
            recording=str(recordings / wav) if wav else "",
            image_file=str(images / row["image"]),
            speaker=safe_id(row.get("speaker", "")),
            language=safe_id(row.get("language", "")),
            caption=clean_caption(row["caption"]) if with_text else None,
        )
    if empty := [split for split in SPLITS if split not in split_of.values()]:
        raise DataError(
            f"{table}: images: {len(split_of)}, but none in {' or '.join(empty)}; each of "
            f"{', '.join(SPLITS)} needs one. Add images until there are three, or name a split "
            "for each image in the column split"
        )


def read_folder(name: str, folder: Path, *, speak: bool = False) -> Corpus:
    """Read the table of a folder.

    Args:
        name: Name of the corpus.
        folder: Folder of the corpus.
        speak: Whether captions may have no recording.

    Raises:
        DataError: If a part is missing or the header is wrong. Wrong rows are reported later.
    """
    table = find_table(folder)
    recordings, required = folder / "wavs", REQUIRED_TO_SPEAK if speak else REQUIRED
    if not speak:
        find_one(folder, "wavs", what="recordings", remedy=REMEDY)
    images = find_one(folder, "images", what="images", remedy=REMEDY)
    with_text = any(row.get("caption") for _, row in read_rows(table, required=required)) or speak
    note = (
        "captions: in the table"
        if with_text
        else "captions: none; the number of keywords follows the duration, the vocabulary is CLIP's"
    )
    captions = spoken_captions(table, recordings, images, with_text=with_text, required=required)
    return Corpus(name, [folder], captions, REMEDY, notes=[note])
