"""Recordings and images in Parquet files, as Hugging Face's ``datasets`` writes them.

A row has a recording and its image, or a recording and the name of an image that is in other files.
The columns of recordings and images are structs of ``bytes``, the content of a file, and ``path``,
its name. Two columns are a file's place: ``@file`` is its name up to the first hyphen, underscore
or full stop, and ``@folder`` the name of its folder.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any

from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.files import MissingPackageError
from espnet_plugin.utils.progress import progress

from .spoken_captions import SPLIT_NAMES, SPLITS, Corpus, SpokenCaption, clean_caption, safe_id

APART = "Name images by a column that tells them apart: --image_of_column, --image_id_column"


def read_parquet(
    name: str,
    folder: Path,
    target: Path,
    *,
    audio: str = "audio",
    image: str = "image",
    image_of: str = "",
    image_id: str = "",
    languages: Collection[str] = (),
    test_only: bool = False,
    remedy: str = "",
    **known: str,
) -> Corpus:
    """Read a corpus. Images of other files are unpacked now, recordings as they are asked for.

    Args:
        name: Name of the corpus.
        folder: Folder of the Parquet files; all are read.
        target: Folder for the unpacked recordings and images.
        audio, image: Columns of the recordings and the images.
        image_of: Column that names a recording's image. Files without recordings then have images.
        image_id: Column of that name in these files; by default the images' ``path``.
        languages: Languages to take, by default all.
        test_only: Whether all recordings are for testing. Otherwise a column says which are, or
            the images' content does: one of ten goes to dev, one to test.
        remedy: What messages advise.
        known: Columns of ``speaker``, ``language``, ``caption`` and ``split``, if they are there.

    Raises:
        DataError: If a file is damaged or lacks a column, a language has no recording, or images
            cannot be told apart.
    """
    columns = {"audio": f"{audio}.bytes", "audio_name": f"{audio}.path", "named": image_of}
    columns |= dict.fromkeys(("speaker", "language", "caption", "split"), "") | known
    pictures = {"image": f"{image}.bytes", "image_name": f"{image}.path"}
    files = {path: set(table_of(path)[1]) for path in sorted(folder.rglob("*.parquet"))}
    image_files = [path for path in files if image_of and audio not in files[path]]
    if bool(image_of or image_id) != bool(image_files) or len(image_files) == len(files):
        raise DataError(
            f"{folder}: files without the column {audio} (--audio_column): {len(image_files)} of "
            f"{len(files)}; with --image_of_column they hold the images of the others' recordings"
        )
    if not image_of:
        columns |= pictures
    pictures["name"] = image_id or f"{image}.path"
    for path in files:  # says what is missing before anything is written
        next(rows(path, pictures if path in image_files else columns), None)
    recordings = [path for path in files if path not in image_files]
    counts, named = survey(recordings, columns, languages)
    if unknown := set(languages) - counts.keys():
        raise DataError(
            f"{name}: no recording in {', '.join(sorted(unknown))}; there are "
            f"{', '.join(sorted(filter(None, counts))) or 'no languages'}"
        )
    kept = {language: counts[language] for language in sorted(languages or counts)}
    spoken = ", ".join(f"{count:,} {language}".strip() for language, count in kept.items())
    notes = [f"recordings: {spoken}"]
    images: dict[tuple[str, str], tuple[str, Path]] = {}
    if image_files:
        alike: dict[str, dict[tuple[str, PurePosixPath], Path]] = {}  # by the file's name alone
        for _, image_name in named:
            alike[PurePosixPath(image_name).name] = {}
        for path in progress(image_files, description="images unpacked", unit="file"):
            language = columns["language"] if columns["language"] in files[path] else ""
            wanted = pictures | {"language": language}
            store_images(path, wanted, counts, alike, target / "images")
        images = matched(named, alike)
        differ = len(set(images.values()))
        notes.append(f"images: {differ:,}, for {len(images):,} of {len(named):,} names")
    found = (row for path in recordings for row in rows(path, columns, languages))
    captions = progress(
        spoken_captions(found, columns, images, target, test_only),
        description="recordings unpacked",
        total=sum(kept.values()),
        unit="recording",
    )
    splits = ("test",) if test_only else SPLITS
    return Corpus(name, [target], captions, remedy, notes=notes, splits=splits)


def survey(
    recordings: Iterable[Path], columns: Mapping[str, str], languages: Collection[str]
) -> tuple[Counter[str], dict[tuple[str, str], None]]:
    """Number of recordings of each language; language and name of each image, in order.

    Raises:
        DataError: If a split is unknown.
    """
    counts: Counter[str] = Counter()
    named = {}
    for path in recordings:
        for row in rows(path, {key: columns[key] for key in ("language", "split", "named")}):
            counts[row["language"]] += 1
            if row["named"] and (not languages or row["language"] in languages):
                named[row["language"], row["named"]] = None
            if row["split"] and row["split"].lower() not in SPLIT_NAMES:
                raise DataError(
                    f"{path}: {row['split']} is none of {', '.join(SPLIT_NAMES)}; without "
                    "--split_column, images are split by their content"
                )
    return counts, named


def table_of(path: Path) -> tuple[Any, dict[str, Any]]:
    """A Parquet file, and where each of its columns is, in structs, too.

    Raises:
        DataError: If it is damaged.
        MissingPackageError: If pyarrow is not installed.
    """
    try:
        from pyarrow import dataset, types
    except ImportError as error:
        raise MissingPackageError(
            f"{path}: Parquet is read by pyarrow, which is not installed: pip install pyarrow "
            "(extra: parquet)"
        ) from error
    try:
        table = dataset.dataset(path, format="parquet")
    except (OSError, ValueError) as error:  # pyarrow's for damaged files
        raise DataError(f"{path}: cannot be read ({error}); download it again") from error
    places = {"": "", "@file": re.split(r"[-_.]", path.name)[0], "@folder": path.parent.name}
    columns = {name: dataset.scalar(value) for name, value in places.items()}
    for field in table.schema:
        columns[field.name] = dataset.field(field.name)
        for part in field.type if types.is_struct(field.type) else ():
            columns[f"{field.name}.{part.name}"] = dataset.field(field.name, part.name)
    return table, columns


def rows(
    path: Path, wanted: Mapping[str, str], languages: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yields columns of the rows in some languages, by default all, with few rows in memory.

    Args:
        path: A Parquet file.
        wanted: Column of each thing. The content of files is bytes or None, all else is text.
        languages: Values of the column that is wanted as ``language``.

    Raises:
        DataError: If the file is damaged, or lacks a column.
    """
    table, columns = table_of(path)
    from pyarrow import ArrowException, compute, dataset

    if missing := [name for name in wanted.values() if name not in columns]:
        there = ", ".join(filter(None, columns))
        raise DataError(f"{path}: no column {', '.join(missing)}; it has {there}")
    chosen = {what: columns[name] for what, name in wanted.items()}
    for what, name in wanted.items():
        if not name.endswith(".bytes"):
            chosen[what] = compute.coalesce(chosen[what].cast("string"), columns[""])
    among = chosen["language"].isin([*languages]) if languages else None
    options = {"columns": chosen, "filter": among, "use_threads": False, "batch_size": 32}
    options |= {"batch_readahead": 1, "fragment_readahead": 1}
    small = dataset.ParquetFragmentScanOptions(use_buffered_stream=True, pre_buffer=False)
    try:
        for part in table.get_fragments():  # the file itself: a table reads far ahead
            for batch in part.to_batches(fragment_scan_options=small, **options):
                yield from batch.to_pylist()
    except (OSError, ArrowException) as error:
        raise DataError(f"{path}: cannot be read ({error}); download it again") from error


def store_images(
    path: Path,
    wanted: Mapping[str, str],
    languages: Collection[str],
    alike: Mapping[str, dict[tuple[str, PurePosixPath], Path]],
    folder: Path,
) -> None:
    """Unpacks the images whose file names are in ``alike``, and adds language, path and file.

    Raises:
        DataError: If images that differ have the same name.
    """
    for row in rows(path, wanted):
        name = PurePosixPath(row["name"])
        if row["image"] and name.name in alike:
            language = row["language"] if row["language"] in languages else ""  # of all
            key = (language, name)
            file = store(row["image"], row["image_name"], folder)
            if alike[name.name].setdefault(key, file).stem != file.stem:
                raise DataError(f"{path}: two images that differ are called {name}. {APART}")


def matched(
    named: Iterable[tuple[str, str]], alike: Mapping[str, Mapping[tuple[str, PurePosixPath], Path]]
) -> dict[tuple[str, str], tuple[str, Path]]:
    """Id and file of each named image that is there.

    One path must end with the other: ``images/dogs/1.png`` is ``dogs/1.png``. The longest common
    part decides. Images with the same content have the id of the first. An id that another
    has gets a suffix.

    Raises:
        DataError: If a name means two images that differ, or two names mean one image.
    """
    found: dict[tuple[str, str], tuple[str, Path]] = {}
    first: dict[str, tuple[str, Path]] = {}
    content_of: dict[str, str] = {}
    called: dict[tuple[str, PurePosixPath], PurePosixPath] = {}
    for spoken, name in named:
        path = PurePosixPath(name)
        images = alike[path.name]
        parts = {key: common_parts(path, key[1]) for key in images if key[0] in ("", spoken)}
        best = [key for key, number in parts.items() if number and number == max(parts.values())]
        if len({images[key].stem for key in best}) > 1:
            others = " or ".join(str(other) for _, other in best)
            raise DataError(f"the image {name} may be {others}, which differ. {APART}")
        for key in best[:1]:
            longest = called.setdefault(key, path)
            if not common_parts(longest, path):
                raise DataError(f"{longest} and {path} would both be the image {key[1]}. {APART}")
            called[key] = max(longest, path, key=lambda one: len(one.parts))
            file, image = images[key], safe_id(str(key[1]))
            if content_of.setdefault(image, file.stem) != file.stem:
                image += f"-{file.stem}"
            found[spoken, name] = first.setdefault(file.stem, (image, file))
    return found


def common_parts(first: PurePosixPath, second: PurePosixPath) -> int:
    """Number of parts of the shorter path if the other ends with it, otherwise 0."""
    count = min(len(first.parts), len(second.parts))
    return count if first.parts[-count:] == second.parts[-count:] else 0


def spoken_captions(
    found: Iterable[Mapping[str, Any]],
    columns: Mapping[str, str],
    images: Mapping[tuple[str, str], tuple[str, Path]],
    folder: Path,
    test_only: bool,
) -> Iterator[SpokenCaption]:
    """Yields all spoken captions, and unpacks the recordings whose images are there."""
    split_of: dict[str, str] = {}
    for number, row in enumerate(found):
        content, language = row["audio"], row["language"]
        image, image_file, file = safe_id(row["named"]) or "-", None, None
        if content and columns["named"]:
            image, image_file = images.get((language, row["named"]), (image, None))
        elif content and row["image"]:
            image_file = store(row["image"], row["image_name"], folder / "images")
            image = image_file.stem
        if image_file:
            file = store(content, row["audio_name"], folder / "wavs")
        drawn = split_by_content(image_file) if image_file else "train"
        split = "test" if test_only else SPLIT_NAMES.get(row["split"].lower(), drawn)
        problem = "" if file else "image missing" if content else "recording missing"
        if not problem and split_of.setdefault(image, split) != split:
            problem = f"image of {split_of[image]}, too"
        yield SpokenCaption(
            split=split,
            utterance=f"{image}_{file.stem if file else number}",
            image=image,
            recording=str(file or f"{row['audio_name']}, recording {number}"),
            image_file=str(image_file or image),
            speaker=safe_id(row["speaker"]),
            language=safe_id(language) or ("unknown" if columns["language"] else ""),
            caption=clean_caption(row["caption"]) if columns["caption"] else None,
            problem=problem,
        )


def split_by_content(image: Path) -> str:
    """Puts one of ten images into dev and one into test, by the hash of their content."""
    return {8: "dev", 9: "test"}.get(int(image.stem, 16) % 10, "train")


def store(content: bytes, name: str, folder: Path) -> Path:
    """Writes a file named by the hash of its content, with its published name's suffix."""
    suffix = re.search(r"\.[a-z0-9]{1,5}$", name.lower())
    digest = blake2b(content, digest_size=10).hexdigest()
    path = folder / digest[:2] / f"{digest}{suffix[0] if suffix else ''}"
    if not (path.is_file() and path.stat().st_size == len(content)):
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    return path
