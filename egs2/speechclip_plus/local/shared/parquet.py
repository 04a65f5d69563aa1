"""Corpora in Parquet files, as Hugging Face's ``datasets`` writes them.

A row of a recording names its image; other files hold the images. The columns ``audio`` and
``image`` are structs of ``bytes``, the content of a file, and ``path``, its name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any

from espnet_plugin.data.files import MissingPackageError
from espnet_plugin.data.scp import DataError
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.progress import progress

from .layout import contents, corpus_root
from .spoken_captions import SPLITS, Corpus, SpokenCaption, safe_id

OPTIONS = {
    "root": "folder of the corpus, as db.sh names it",
    "target": "folder for the unpacked recordings and images",
    "languages": "wanted ones, separated by commas (default: all)",
    "test_only": "true: all recordings are for testing",
}
_AUDIO = ("audio.bytes", "audio.path")
_IMAGE = ("image.bytes", "image.path")
_SPEAKER = "speakerID"  # the column that a file may lack
_ROWS = 32  # that become Python's objects at a time


@dataclass(frozen=True)
class Layout:
    """The places of a corpus's parts, and what to do if one is missing."""

    name: str
    recordings: tuple[str, ...]  # patterns of files; those of the first that is there
    language: str  # regular expression of a language's file, with a group; else there is a column
    image_of: str  # column that names the image, perhaps behind folders
    images: str  # pattern of files, of all languages or of one each
    image_id: str  # column with that name
    remedy: str


def read_parquet(
    layout: Layout, root: str, target: str, languages: str = "", test_only: str = ""
) -> Corpus:
    """Read a corpus, whose ``OPTIONS`` follow its layout.

    Images are unpacked now, recordings as they are asked for.

    Raises:
        DataError: If a file is damaged or lacks a column, or a language has no recording.
    """
    folder = corpus_root(root, variable=layout.name.upper(), remedy=layout.remedy)
    files = next(filter(None, (sorted(folder.glob(name)) for name in layout.recordings)), [])
    image_files = sorted(folder.glob(layout.images))
    if not (files and image_files):
        raise DataError(
            f"{layout.name}: looked for {' or '.join(layout.recordings)}, and {layout.images} in "
            f"{folder}; found there: {contents(folder)}. {layout.remedy}"
        )
    language_of = languages_of(layout, folder, files)
    images_of = languages_of(layout, folder, image_files)
    for path in image_files:  # before anything is written
        next(rows(path, layout.image_id, *_IMAGE), None)
    for path in files:
        next(rows(path, *_AUDIO), None)
    chosen = set(filter(None, map(str.strip, languages.split(","))))
    counts: Counter[str] = Counter()
    wanted = set()
    for language, name, _ in recordings(layout, language_of):
        counts[language] += 1
        if name and (not chosen or language in chosen):
            wanted.add(f"{language}/{name}" if any(images_of.values()) else name)
    if unknown := chosen - counts.keys():
        raise DataError(
            f"{layout.name}: no recording in {', '.join(sorted(unknown))}; there are "
            f"{', '.join(sorted(counts))}"
        )
    kept = {language: counts[language] for language in sorted(chosen or counts)}
    images = store_images(layout, images_of, wanted, Path(target) / "images")
    notes = [
        "recordings: " + ", ".join(f"{count:,} {language}" for language, count in kept.items()),
        f"images: {len(wanted):,} named, {len(images):,} there, {len({*images.values()}):,} differ",
    ]
    speech = recordings(layout, language_of, *_AUDIO, _SPEAKER, languages=kept)
    only = test_only == "true"
    captions = progress(
        spoken_captions(speech, images, Path(target) / "wavs", test_only=only),
        description="recordings unpacked",
        total=sum(kept.values()),
        unit="recording",
    )
    splits = ("test",) if only else SPLITS
    return Corpus(layout.name, [Path(target)], captions, layout.remedy, notes=notes, splits=splits)


def languages_of(layout: Layout, folder: Path, files: Collection[Path]) -> dict[Path, str]:
    """The language of each file; empty if a file has several languages."""
    named = [re.fullmatch(layout.language, path.relative_to(folder).as_posix()) for path in files]
    return {path: name[1] if name else "" for path, name in zip(files, named, strict=True)}


def rows(path: Path, *columns: str) -> Iterator[dict[str, Any]]:
    """Yields some columns of a Parquet file. One of its row groups is in memory at a time.

    Raises:
        DataError: If it is damaged, or lacks a column.
        MissingPackageError: If pyarrow is not installed.
    """
    try:
        from pyarrow import Table
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingPackageError(
            f"{path}: Parquet is read by pyarrow, which is not installed: pip install pyarrow "
            "(extra: parquet)"
        ) from error
    try:
        with ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            there = [file.schema.column(place).path for place in range(len(file.schema))]
            if missing := [name for name in columns if name not in (*there, _SPEAKER)]:
                raise DataError(f"no column {', '.join(missing)}; it has {', '.join(there)}")
            names = [name for name in there if name in columns]
            for batch in file.iter_batches(_ROWS, columns=names):
                yield from Table.from_batches([batch]).flatten().to_pylist()
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:  # pyarrow's for damaged files
        raise DataError(f"{path}: cannot be read ({error}); download it again") from error


def recordings(
    layout: Layout, language_of: Mapping[Path, str], *columns: str, languages: Collection[str] = ()
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields language, image and columns of each recording in some languages, by default all."""
    for path, known in language_of.items():
        if known and languages and known not in languages:
            continue
        for row in rows(path, layout.image_of, *columns, *([] if known else ["language"])):
            language = known or str(row["language"] or "unknown")
            if not languages or language in languages:
                yield language, PurePosixPath(_text(row[layout.image_of])).name, row


def spoken_captions(
    speech: Iterable[tuple[str, str, dict[str, Any]]],
    images: Mapping[str, tuple[str, Path]],
    folder: Path,
    *,
    test_only: bool,
) -> Iterator[SpokenCaption]:
    """Yields all spoken captions, and unpacks the recordings whose images are there."""
    for number, (language, name, row) in enumerate(speech):
        content = row["audio.bytes"]
        found = images.get(f"{language}/{name}") or images.get(name)
        image, image_file = found or (safe_id(name) or "-", None)
        file = store(content, row["audio.path"], folder) if content and image_file else None
        yield SpokenCaption(
            split="test" if test_only else split_of(image_file) if image_file else "train",
            utterance=f"{image}_{file.stem if file else number}",
            image=image,
            recording=str(file or f"{row['audio.path']}, recording {number}"),
            image_file=str(image_file or name),
            speaker=safe_id(_text(row.get(_SPEAKER))),
            language=safe_id(language),
            problem="" if file else "image missing" if content else "recording missing",
        )


def store_images(
    layout: Layout, language_of: Mapping[Path, str], wanted: Collection[str], folder: Path
) -> dict[str, tuple[str, Path]]:
    """Unpacks images; gives id and file of ``<name>``, or ``<language>/<name>`` in such a file.

    Images with the same content have the id of the first. An id that another has gets a suffix.
    """
    images: dict[str, tuple[str, Path]] = {}
    first: dict[str, tuple[str, Path]] = {}
    content_of: dict[str, str] = {}
    for path in progress(language_of, description="images unpacked", unit="file"):
        for row in rows(path, layout.image_id, *_IMAGE):
            name, content = _text(row[layout.image_id]), row["image.bytes"]
            key = f"{language_of[path]}/{name}" if language_of[path] else name
            if content and key in wanted and key not in images:
                file = store(content, row["image.path"], folder)
                image = safe_id(name)
                if content_of.setdefault(image, file.stem) != file.stem:
                    image += f"-{file.stem}"
                images[key] = first.setdefault(file.stem, (image, file))
    return images


def _text(name: Any) -> str:
    """A name as text, even if it is a number; empty if there is none."""
    return "" if name is None else str(name)


def split_of(image: Path) -> str:
    """Puts one of ten images into dev and one into test, by the hash of their content."""
    return {8: "dev", 9: "test"}.get(int(image.stem, 16) % 10, "train")


def store(content: bytes, name: str | None, folder: Path) -> Path:
    """Writes a file named by the hash of its content, with its published name's suffix."""
    suffix = re.search(r"\.[a-z0-9]{1,5}$", (name or "").lower())
    digest = blake2b(content, digest_size=10).hexdigest()
    path = folder / digest[:2] / f"{digest}{suffix[0] if suffix else ''}"
    if not (path.is_file() and path.stat().st_size == len(content)):
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    return path
