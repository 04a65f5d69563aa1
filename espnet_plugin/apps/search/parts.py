"""Embeddings of many files as Parquet, in parts that any machines write without knowing each other.

Part 2 of 9 is ``part-2-of-9.parquet``. It is written under another name and renamed when it is
whole: a part that was killed is begun again, and ends as an undisturbed one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from espnet_plugin.apps.search.catalog import Window, window_of
from espnet_plugin.apps.search.model import IndexedModel, check_model, check_words
from espnet_plugin.apps.search.update import BATCH, READERS, Embedded, Windows, batched
from espnet_plugin.data.record import VERSIONS
from espnet_plugin.media.audio import is_recording
from espnet_plugin.media.folders import (
    find_files,
    is_medium,
    require_media,
    require_permission,
)
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.hashing import hash_file
from espnet_plugin.utils.progress import progress

if TYPE_CHECKING:
    from espnet_plugin.apps.search.encoder import ClipEncoder

try:
    import pyarrow as pa
    import pyarrow.parquet as parquet
except ImportError as error:
    raise ImportError(f"parts: {error}; pip install pyarrow (extra: parts)") from error

KEY = b"speechclip"  # of the table's metadata
ROW_GROUP = 1 << 16


@dataclass(frozen=True)
class Part:
    """What a part says about itself, in its table's metadata.

    Attributes:
        number: Number of the part, from 1 on.
        of: Number of parts.
        model: The model that made it.
        sources: Folders and files whose embeddings all parts hold.
        skipped: What was wrong with each file that was left out, by its path.
        version: Version of the code that made it.
    """

    number: int
    of: int
    model: IndexedModel
    sources: tuple[str, ...]
    skipped: dict[str, str]
    version: int

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"part-{self.number}-of-{self.of}.parquet"


def embed_part(
    sources: Sequence[str],
    output: Path,
    *,
    part: tuple[int, int],
    model: IndexedModel,
    encoder: ClipEncoder,
    embed_recording: Callable[[str], Windows],
) -> Part:
    """Writes a part; one that is there stays as it is.

    Its rows are in memory until then, a kilobyte each: who wants finer steps makes more parts.

    Args:
        sources: Folders with all below them, images and recordings.
        output: Folder of the parts.
        part: Number of the part, from 1 on, and number of parts.
        model: The model of the encoder.
        encoder, embed_recording: What embeds images and recordings, see :func:`update_index`.

    Raises:
        DataError: If a source is missing, or the folder has this part of another job.
    """
    places = tuple(os.path.abspath(os.path.expanduser(each)) for each in sources)
    made = Part(*part, model, places, {}, VERSIONS["index"])
    path = output / made.name
    if path.is_file():
        there = read_part(path)
        _check_job(path, there, made)
        logging.info(f"{path}: complete, left as it is")
        return there
    files = list(dict.fromkeys(files_of_part(places, *part)))
    images = [file for file in files if not is_recording(file)]
    batches = [*batched(images, BATCH), *([file] for file in files if is_recording(file))]
    shown = progress(batches, description=path.stem, unit="batch")
    tables = [_embedded(batch, encoder, embed_recording, made.skipped) for batch in shown]
    whole = pa.concat_tables([each for each in tables if len(each)] or [_schema(0).empty_table()])
    whole = whole.replace_schema_metadata({KEY: json.dumps(asdict(made))})
    try:
        with atomic_path(path) as temporary:
            parquet.write_table(
                whole, temporary, row_group_size=ROW_GROUP, write_page_checksum=True
            )
    except FileNotFoundError:  # another process completed the part meanwhile, and tidied up
        if not path.is_file():
            raise
    for left in output.glob(f".{path.stem}.*"):  # of processes that were killed
        left.unlink(missing_ok=True)
    return made


def files_of_part(sources: Sequence[str], number: int, of: int) -> Iterator[str]:
    """Yields the files of a part, always in the same order.

    A hash of a file's path below its folder decides its part, which needs no other part.

    Args:
        sources: Absolute paths of folders, images and recordings.
        number: Number of the part, from 1 on.
        of: Number of parts.

    Raises:
        DataError: If a source is missing, or holds no image and no recording.
    """
    for source in sources:
        if os.path.isdir(source):
            require_permission(source)
            require_media(source)
            folder, files = source, find_files([source], is_medium)
        elif os.path.isfile(source) and is_medium(source):
            folder, files = os.path.dirname(source), iter([source])
        else:
            raise DataError(f"{source}: no folder, image or recording")
        for path in files:
            name = os.path.relpath(path, folder)
            digest = hashlib.sha256(os.fsencode(name)).hexdigest()
            if int(digest, 16) % of == number - 1:
                yield path


def _embedded(
    files: Sequence[str],
    encoder: ClipEncoder,
    embed_recording: Callable[[str], Windows],
    skipped: dict[str, str],
) -> Any:
    """A batch as a table; ``skipped`` gets what was left out."""
    spoken = is_recording(files[0])
    read = embed_recording if spoken else encoder.read
    with ThreadPoolExecutor(READERS) as readers:
        mapped: Any = map if spoken else readers.map
        pairs = list(zip(files, mapped(lambda path: _read(read, path), files), strict=True))
    for file, reason in ((file, it) for file, it in pairs if isinstance(it, str)):
        logging.warning(f"skipped {file}: {reason}")
        skipped[file] = reason
    good = [(file, *it) for file, it in pairs if not isinstance(it, str)]
    found = [medium for *_, medium in good]
    if good and not spoken:
        found = [(row, [Window()]) for row in encoder.encode(found)[:, None]]
    rows = [
        {
            "path": os.fsencode(file),
            "hash": content,
            "start": window.start,
            "end": window.end,
            "words": json.dumps([vars(word) for word in window.words]),
            "vector": row,
        }
        for (file, content, _), (vectors, windows) in zip(good, found, strict=True)
        for row, window in zip(vectors.astype(np.float16), windows, strict=True)
    ]
    return pa.Table.from_pylist(rows, _schema(len(rows[0]["vector"]) if rows else 0))


def _read(read: Callable[[str], Any], path: str) -> tuple[bytes, Any] | str:
    """SHA-256 of a file and what is read of it, or what is wrong with it."""
    try:
        return hash_file(path, hashlib.sha256()).digest(), read(path)
    except (OSError, ValueError) as error:  # others are not about the file
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        return " ".join(str(error).split()).removeprefix(f"{path}: ")


def read_part(path: Path) -> Part:
    """What a part says about itself; raises DataError if it is none."""
    try:
        found = json.loads(parquet.read_schema(path).metadata[KEY])
        model = IndexedModel(**found.pop("model"))
        part = Part(**{**found, "model": model, "sources": tuple(found["sources"])})
        kinds = {"number": int, "of": int, "skipped": dict, "version": int}
        texts = (model.name, model.fingerprint, *part.sources)
        wrong = [name for name, kind in kinds.items() if type(getattr(part, name)) is not kind]
        if wrong or not all(isinstance(text, str) for text in texts):
            raise TypeError(f"{wrong[0] if wrong else 'its model or a source'} is damaged")
    except (KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no part, or damaged ({error}); remove it") from error
    return part


def _check_job(path: Path, part: Part, other: Part) -> None:
    """Raises DataError if two parts are not of the same job."""
    # the same model may lie elsewhere
    jobs = [
        {"of": each.of, "sources": each.sources, "fingerprint": each.model.fingerprint,
         "min_score": each.model.min_score, "version": each.version}
        for each in (part, other)
    ]  # fmt: skip
    for name, mine in jobs[0].items():
        if mine != (theirs := jobs[1][name]):
            raise DataError(
                f"{path}: of another job, with {name} {mine} instead of {theirs}; keep the parts "
                "of each job in a folder of its own"
            )


def open_parts(
    directory: Path, model: IndexedModel | None = None
) -> tuple[IndexedModel, Iterator[Embedded], dict[str, str]]:
    """The model of a job's parts, their files with their vectors, and why others were left out.

    Args:
        directory: Directory that holds all parts, whole, each once.
        model: Model that must have made them, by default any.

    Raises:
        DataError: If a part is missing, damaged, a copy, or of another job, model or version of
            the code; it is named.
    """
    found = {path: read_part(path) for path in sorted(directory.glob("part-*.parquet"))}
    if not found:
        raise DataError(f"{directory}: no parts; make them with speechclip embed SOURCE --part 1/1")
    first = next(iter(found.values()))
    for path, part in found.items():
        _check_job(path, part, first)
        if path.name != part.name:
            raise DataError(f"{path}: a copy of part {part.number} of {part.of}; remove it")
    there = {part.number for part in found.values()}
    if missing := next((n for n in range(1, first.of + 1) if n not in there), None):
        raise DataError(
            f"{directory}: part {missing} of {first.of} is missing; found: {len(found)}"
        )
    if model:
        check_model(directory, first.model, model)
        check_words(directory, first.model, model)
    if first.version != (now := VERSIONS["index"]):
        raise DataError(f"{directory}: its code: {first.version} then, {now} now; embed it again")
    skipped = {file: reason for part in found.values() for file, reason in part.skipped.items()}
    return model or first.model, _files(list(found)), skipped


def _files(paths: Sequence[Path]) -> Iterator[Embedded]:
    for path in paths:
        try:
            table = parquet.read_table(path, page_checksum_verification=True)
            dim = table.schema.field("vector").type.list_size
            if not table.schema.equals(_schema(dim)):
                raise ValueError("other columns")
            numbers = table["vector"].combine_chunks().flatten().to_numpy()
            rows = numbers.astype(np.float32).reshape(len(table), dim)
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            if not (np.isfinite(lengths) & (lengths > 0)).all():
                raise ValueError("a vector is zero or not finite")
            others = (table[name].to_pylist() for name in _schema(dim).names if name != "vector")
            pairs = zip(*others, rows / lengths, strict=True)
            for (file, content), group in groupby(pairs, itemgetter(0, 1)):
                _, _, starts, ends, words, vectors = zip(*group, strict=True)
                windows = [window_of(*each) for each in zip(starts, ends, words, strict=True)]
                yield os.fsdecode(file), content, (np.stack(vectors), windows)
        except (AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError) as error:
            raise DataError(f"{path}: no part, or damaged ({error}); embed it again") from error


def _schema(dim: int) -> Any:
    columns = {"path": pa.binary(), "hash": pa.binary(32), "start": pa.float64(),
               "end": pa.float64(), "words": pa.string(),
               "vector": pa.list_(pa.float16(), dim)}  # fmt: skip
    return pa.schema(list(columns.items()))
