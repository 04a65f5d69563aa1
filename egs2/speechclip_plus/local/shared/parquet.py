"""Recordings and images in Parquet files, as Hugging Face's ``datasets`` writes them.

A row has a recording and its image, or a recording and the name of an image that is in other files.
The columns of recordings and images are structs of ``bytes``, the content of a file, and ``path``,
its name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any

from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.files import MissingPackageError
from espnet_plugin.utils.progress import progress

from .layout import contents
from .spoken_captions import SPLIT_NAMES, SPLITS, Corpus, SpokenCaption, clean_caption, safe_id

_ROWS = 32  # that become Python's objects at a time
_PATTERN = re.compile(r"(\*\*/|\*|\{language\}|\{split\})")
_MEANING = {"**/": "(?:.*/)?", "*": "[^/]*"}


@dataclass(frozen=True)
class Layout:
    """Which files and columns of a folder hold what; a column without a name is not there.

    Attributes:
        recording_files: Pattern of the files with recordings, relative to the folder. What
            ``{language}`` and ``{split}`` stand for in a file's name is that of its recordings.
        image_files: Pattern of those with images; empty if each recording's row has its image.
        audio_column, image_column: The recordings and the images.
        image_of_column: What names a recording's image, perhaps behind folders.
        image_id_column: That name, in the files with images; by default the images' ``path``.
        speaker_column, language_column, caption_column: What is known about a recording.
    """

    recording_files: str = "**/*.parquet"
    image_files: str = ""
    audio_column: str = "audio"
    image_column: str = "image"
    image_of_column: str = ""
    image_id_column: str = ""
    speaker_column: str = ""
    language_column: str = ""
    caption_column: str = ""

    @property
    def audio(self) -> tuple[str, str]:
        """Columns of a recording's content and name."""
        return f"{self.audio_column}.bytes", f"{self.audio_column}.path"

    @property
    def image(self) -> tuple[str, str]:
        """Columns of an image's content and name."""
        return f"{self.image_column}.bytes", f"{self.image_column}.path"

    @property
    def image_id(self) -> str:
        """Column of an image's name in the files with images."""
        return self.image_id_column or self.image[1]


@dataclass(frozen=True)
class Source:
    """A file, and what its name says of all its rows; empty if it says nothing."""

    path: Path
    language: str = ""
    split: str = ""


def read_parquet(
    name: str,
    folder: Path,
    target: Path,
    layout: Layout,
    *,
    languages: Collection[str] = (),
    test_only: bool = False,
    remedy: str = "",
) -> Corpus:
    """Read a corpus. Images of other files are unpacked now, recordings as they are asked for.

    Args:
        name: Name of the corpus.
        folder: Folder with the Parquet files.
        target: Folder for the unpacked recordings and images.
        layout: Which files and columns hold what.
        languages: Languages to take, by default all.
        test_only: Whether all recordings are for testing. Otherwise the files' names say which are,
            or the images' content does: one of ten goes to dev, one to test.
        remedy: What messages advise.

    Raises:
        DataError: If a file is damaged or lacks a column, or a language has no recording.
    """
    if bool(layout.image_files) != bool(layout.image_of_column):
        raise DataError(
            f"{name}: --image_files and --image_of_column belong together: files with images, and "
            f"the column of the recordings that names an image. {remedy}"
        )
    sources = find_sources(folder, layout.recording_files, remedy)
    image_sources = find_sources(folder, layout.image_files, remedy) if layout.image_files else []
    if taken := {source.path for source in image_sources}:
        sources = [source for source in sources if source.path not in taken]
    for source in image_sources:  # before anything is written
        next(rows(source.path, layout.image_id, *layout.image), None)
    for source in sources:
        language = "" if source.language else layout.language_column
        next(rows(source.path, *_columns(layout), language), None)
    counts: Counter[str] = Counter()
    wanted = set()
    by_language = any(source.language for source in image_sources)
    named = recordings(layout, sources, layout.audio[1], layout.image_of_column)
    for _, language, row in named:
        counts[language] += 1
        image = _text(row.get(layout.image_of_column))
        if image and (not languages or language in languages):
            wanted.add(_key(image, language if by_language else ""))
    if unknown := set(languages) - counts.keys():
        raise DataError(
            f"{name}: no recording in {', '.join(sorted(unknown))}; there are "
            f"{', '.join(sorted(filter(None, counts))) or 'no languages'}"
        )
    kept = {language: counts[language] for language in sorted(languages or counts)}
    spoken = ", ".join(f"{count:,} {language}".strip() for language, count in kept.items())
    notes = [f"recordings: {spoken}"]
    images: dict[str, tuple[str, Path]] = {}
    if image_sources:
        images = store_images(layout, image_sources, wanted, target / "images")
        differ = len({file for _, file in images.values()})
        notes.append(f"images: {len(wanted):,} named, {len(images):,} there, {differ:,} differ")

    def image_of(row: Mapping[str, Any], language: str) -> tuple[str, Path | None]:
        if image_sources:
            named = row[layout.image_of_column]
            found = images.get(_key(named, language if by_language else ""))
            return found or (safe_id(_key(named, "")) or "-", None)
        content, path = (row[column] for column in layout.image)
        file = store(content, path, target / "images") if content else None
        return (file.stem, file) if file else ("-", None)

    captions = progress(
        spoken_captions(layout, sources, image_of, target / "wavs", languages, test_only),
        description="recordings unpacked",
        total=sum(kept.values()),
        unit="recording",
    )
    splits = ("test",) if test_only else SPLITS
    return Corpus(name, [target], captions, remedy, notes=notes, splits=splits)


def find_sources(folder: Path, pattern: str, remedy: str) -> list[Source]:
    """The files that a pattern finds.

    Raises:
        DataError: If there is none, or one is of no known split.
    """
    pieces = _PATTERN.split(pattern)
    if strange := re.findall(r"[{}]", "".join(pieces[::2])):
        raise DataError(f"{pattern}: {strange[0]} is only known in {{language}} and {{split}}")
    named = [f"(?P<{piece[1:-1]}>[^/]+?)" if "{" in piece else _MEANING.get(piece, re.escape(piece))
             for piece in pieces]  # fmt: skip
    if any(named.count(group) > 1 for group in named if group.startswith("(?P")):
        raise DataError(f"{pattern}: name {{language}} and {{split}} once each")
    glob = "".join("*" if "{" in piece else piece for piece in pieces)
    sources = []
    for path in sorted(folder.glob(glob)):
        if found := re.fullmatch("".join(named), path.relative_to(folder).as_posix()):
            given = found.groupdict().get("split") or ""
            if given and given.lower() not in SPLIT_NAMES:
                raise DataError(
                    f"{path}: {given} is none of {', '.join(SPLIT_NAMES)}; without {{split}} in "
                    "the pattern, images are split by their content"
                )
            split = SPLIT_NAMES.get(given.lower(), "")
            sources.append(Source(path, found.groupdict().get("language") or "", split))
    if not sources:
        raise DataError(
            f"looked for {pattern} in {folder}; found there: {contents(folder)}. {remedy}"
        )
    return sources


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
    wanted = list(filter(None, columns))
    try:
        with ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            there = [file.schema.column(place).path for place in range(len(file.schema))]
            if missing := [name for name in wanted if name not in there]:
                raise DataError(f"no column {', '.join(missing)}; it has {', '.join(there)}")
            for batch in file.iter_batches(_ROWS, columns=wanted):
                yield from Table.from_batches([batch]).flatten().to_pylist()
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:  # pyarrow's for damaged files
        raise DataError(f"{path}: cannot be read ({error}); download it again") from error


def recordings(
    layout: Layout, sources: Iterable[Source], *columns: str, languages: Collection[str] = ()
) -> Iterator[tuple[Source, str, dict[str, Any]]]:
    """Yields file, language and columns of each recording in some languages, by default all."""
    for source in sources:
        if source.language and languages and source.language not in languages:
            continue
        column = "" if source.language else layout.language_column
        for row in rows(source.path, *columns, column):
            language = source.language or (_text(row[column]) or "unknown" if column else "")
            if not languages or language in languages:
                yield source, language, row


def spoken_captions(
    layout: Layout,
    sources: Iterable[Source],
    image_of: Callable[[Mapping[str, Any], str], tuple[str, Path | None]],
    folder: Path,
    languages: Collection[str],
    test_only: bool,
) -> Iterator[SpokenCaption]:
    """Yields all spoken captions, and unpacks the recordings whose images are there."""
    found = recordings(layout, sources, *_columns(layout), languages=languages)
    split_of: dict[str, str] = {}
    for number, (source, language, row) in enumerate(found):
        content, name = (row[column] for column in layout.audio)
        image, image_file = image_of(row, language) if content else ("-", None)
        file = store(content, name, folder) if content and image_file else None
        split = source.split or (split_by_content(image_file) if image_file else "train")
        split = "test" if test_only else split
        problem = "" if file else "image missing" if content else "recording missing"
        if not problem and split_of.setdefault(image, split) != split:
            problem = f"image of {split_of[image]}, too"
        caption = _text(row[layout.caption_column]) if layout.caption_column else None
        yield SpokenCaption(
            split=split,
            utterance=f"{image}_{file.stem if file else number}",
            image=image,
            recording=str(file or f"{name}, recording {number}"),
            image_file=str(image_file or image),
            speaker=safe_id(_text(row.get(layout.speaker_column))),
            language=safe_id(language),
            caption=None if caption is None else clean_caption(caption),
            problem=problem,
        )


def store_images(
    layout: Layout, sources: Collection[Source], wanted: Collection[str], folder: Path
) -> dict[str, tuple[str, Path]]:
    """Unpacks images; gives id and file of ``<name>``, or ``<language>/<name>`` in such a file.

    Images with the same content have the id of the first. An id that another has gets a suffix.
    """
    images: dict[str, tuple[str, Path]] = {}
    first: dict[str, tuple[str, Path]] = {}
    content_of: dict[str, str] = {}
    for source in progress(sources, description="images unpacked", unit="file"):
        for row in rows(source.path, layout.image_id, *layout.image):
            name, content = row[layout.image_id], row[layout.image[0]]
            key = _key(name, source.language)
            if content and key in wanted and key not in images:
                file = store(content, row[layout.image[1]], folder)
                image = safe_id(_key(name, ""))
                if content_of.setdefault(image, file.stem) != file.stem:
                    image += f"-{file.stem}"
                images[key] = first.setdefault(file.stem, (image, file))
    return images


def _columns(layout: Layout) -> tuple[str, ...]:
    image = (layout.image_of_column,) if layout.image_of_column else layout.image
    return (*layout.audio, *image, layout.speaker_column, layout.caption_column)


def _key(name: Any, language: str) -> str:
    """The name of an image without folders, with the language whose image it is, if any."""
    name = PurePosixPath(_text(name)).name
    return f"{language}/{name}" if language else name


def _text(value: Any) -> str:
    """A value as text, even if it is a number; empty if there is none."""
    return "" if value is None else str(value)


def split_by_content(image: Path) -> str:
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
