"""Embeddings of many files in parts, which any machines write without knowing each other.

Part 2 of 9 is ``part-2-of-9.parquet`` with a manifest, ``part-2-of-9.json``. Both are written whole
and renamed: a part that was killed is begun again, and ends as an undisturbed one, bit for bit.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from espnet_plugin.data.audio import is_recording
from espnet_plugin.data.freshness import differing
from espnet_plugin.data.scp import DataError
from espnet_plugin.search.catalog import State, Window, window_of
from espnet_plugin.search.folders import is_medium
from espnet_plugin.search.model import IndexedModel, check_model
from espnet_plugin.search.source import Item, items_of_part
from espnet_plugin.search.update import BATCH, READERS, Embedded, ImageEncoder, Windows
from espnet_plugin.utils.atomic import atomic_path, write_text
from espnet_plugin.utils.hashing import hash_file
from espnet_plugin.utils.progress import progress
from espnet_plugin.utils.scratch import scratch_folder

try:
    import pyarrow as pa
    import pyarrow.parquet as parquet
except ImportError as error:
    raise ImportError(f"parts: {error}; pip install pyarrow (extra: parts)") from error

CONTRACT = 2
SAME = {"contract": int, "of": int, "fingerprint": str, "source": list}  # in all parts of a job
KINDS = {"part": int, "dim": int, "model": str, "parquet": str, **SAME}


def embed_part(
    sources: Sequence[str],
    output: Path,
    *,
    part: tuple[int, int],
    model: IndexedModel,
    encoder: ImageEncoder,
    embed_recording: Callable[[str], Windows],
) -> dict[str, Any]:
    """Writes a part; a complete one stays as it is. Returns its manifest.

    Its rows are in memory until then, a kilobyte each: who wants finer steps makes more parts.

    Args:
        sources: Folders, shards, files and lists that
            :func:`~espnet_plugin.search.source.items_of_part` takes.
        output: Folder of the parts.
        part: Number of the part, from 1 on, and number of parts.
        model: The model of the encoder.
        encoder, embed_recording: What embeds images and recordings, see :func:`update_index`.

    Raises:
        DataError: If a source is missing, or the folder has this part of another job.
    """
    name = "part-{}-of-{}".format(*part)
    manifest, table, work = (output / f"{name}.{end}" for end in ("json", "parquet", "unfinished"))
    source = [os.path.abspath(os.path.expanduser(each)) for each in sources]
    made = {"contract": CONTRACT, "part": part[0], "of": part[1], "source": source,
            "model": model.name, "fingerprint": model.fingerprint}  # fmt: skip
    if not (there := _complete(manifest, table, made)):
        bad: dict[str, str] = {}
        items = list(dict.fromkeys(items_of_part(source, *part, bad)))
        images = [item for item in items if not is_recording(item.id)]
        batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        batches += [[item] for item in items if is_recording(item.id)]
        shown = progress(batches, description=name, unit="batch")
        tables = [_embedded(batch, encoder, embed_recording, bad) for batch in shown]
        filled = [each for each in tables if len(each)]
        whole = pa.concat_tables(filled or [_schema(0).empty_table()])
        try:
            with atomic_path(work / table.name) as temporary:
                parquet.write_table(whole, temporary, row_group_size=1 << 16)
                size = {"dim": whole.schema.field("row").type.list_size, "rows": len(whole)}
                there = {**made, **size, "parquet": _digest(temporary), "bad": bad}
            write_text(work / manifest.name, json.dumps(there, indent=1) + "\n")
            for file in (table, manifest):  # a killed process leaves nothing beside them
                os.replace(work / file.name, file)
        except FileNotFoundError:  # another process was at this part, completed it, and tidied up
            if not (there := _complete(manifest, table, made)):
                raise
    shutil.rmtree(work, ignore_errors=True)
    return there


def _complete(manifest: Path, table: Path, made: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a part, or None if the part is not complete."""
    if not manifest.is_file():
        return None
    there = read_manifest(manifest)
    if other := differing(there, _job(made)):
        raise DataError(f"{manifest}: of another {other[0]}; name a new folder, or remove it")
    if not is_whole(manifest):
        logging.warning(f"{table}: missing or damaged, so it is made again")
        return None
    logging.info(f"{manifest}: complete, left as it is")
    return there


def _embedded(
    items: Sequence[Item],
    encoder: ImageEncoder,
    embed_recording: Callable[[str], Windows],
    bad: dict[str, str],
) -> Any:
    """A batch as a table; ``bad`` gets what was left out."""
    spoken = is_recording(items[0].id)
    with scratch_folder() as folder, ThreadPoolExecutor(READERS) as readers:
        read = partial(_read, embed_recording if spoken else encoder.read, folder)
        mapped = map if spoken else readers.map
        pairs = list(zip(items, mapped(read, range(len(items)), items), strict=True))
    for file, reason in ((item.name, it) for item, it in pairs if isinstance(it, str)):
        logging.warning(f"skipped {file}: {reason}")
        bad[file] = reason
    good = [(item, *it) for item, it in pairs if not isinstance(it, str)]
    found = [medium for *_, medium in good]
    if good and not spoken:
        found = [(row, [Window()]) for row in encoder.encode(found)[:, None]]
    rows = [
        {
            "id": os.fsencode(item.id),
            "path": os.fsencode(item.path),
            "start": window.start,
            "end": window.end,
            "row": row,
            "keywords": json.dumps([vars(word) for word in window.words]),
            "content": content,
        }
        for (item, content, _), (vectors, windows) in zip(good, found, strict=True)
        for row, window in zip(vectors.astype(np.float16), windows, strict=True)
    ]
    return pa.Table.from_pylist(rows, _schema(len(rows[0]["row"]) if rows else 0))


def _read(
    read: Callable[[str], Any], folder: Path, number: int, item: Item
) -> tuple[bytes, Any] | str:
    """SHA-256 of an item and what is read of it, or what is wrong with it."""
    path = item.path
    try:
        if not is_medium(item.id):
            raise DataError("neither an image nor a recording, by its ending")
        if item.place:
            path = str(folder / f"{number}{os.path.splitext(item.id)[1]}")
            with open(item.path, "rb") as shard, open(path, "wb") as file:
                shard.seek(item.place[0])
                file.write(shard.read(item.place[1]))
        return hash_file(path, hashlib.sha256()).digest(), read(path)
    except (OSError, ValueError) as error:  # others are not about the item
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        return " ".join(str(error).split()).removeprefix(f"{path}: ")


def open_parts(
    directory: Path, model: IndexedModel | None = None
) -> tuple[IndexedModel, Iterator[Embedded]]:
    """The model of a job's parts and their files; a shard's member is ``shard.tar: name``.

    Args:
        directory: Directory that holds all parts, whole, each once.
        model: Model that must have made them, by default any.

    Raises:
        DataError: If a part is missing, damaged, of another job or model, or a copy; it is named.
    """
    parts: list[dict[str, Any]] = []
    for path in sorted(directory.glob("part-*.json")):
        part = read_manifest(path)
        first = parts[0] if parts else part
        for key in differing(part, _job(first)):
            raise DataError(
                f"{path}: {key} is {part[key]}, but {first[key]} in part {first['part']}; keep "
                "the parts of each job in a folder of its own"
            )
        if path.name != f"part-{part['part']}-of-{part['of']}.json":
            raise DataError(f"{path}: a copy of part {part['part']} of {part['of']}; remove it")
        if not is_whole(path):
            raise DataError(f"{path.with_suffix('.parquet')}: missing or changed; embed it again")
        parts.append(part)
    if not parts:
        raise DataError(f"{directory}: no parts; make them with speechclip embed SOURCE --part 1/1")
    of, there = parts[0]["of"], {part["part"] for part in parts}
    if missing := next((number for number in range(1, of + 1) if number not in there), None):
        raise DataError(f"{directory}: part {missing} of {of} is missing; found: {len(parts)}")
    made_by = State(model=parts[0]["model"], fingerprint=parts[0]["fingerprint"])
    model = model or IndexedModel(made_by.model, made_by.fingerprint)
    check_model(directory, made_by, model)
    return model, _files(directory, parts)


def _files(directory: Path, parts: Sequence[dict[str, Any]]) -> Iterator[Embedded]:
    for part in parts:
        path = directory / f"part-{part['part']}-of-{part['of']}.parquet"
        try:
            table = parquet.read_table(path)
            if not table.schema.equals(_schema(part["dim"])):
                raise ValueError("other columns")
            numbers = table["row"].combine_chunks().flatten().to_numpy()
            rows = numbers.astype(np.float32).reshape(len(table), part["dim"])
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            if not (np.isfinite(lengths) & (lengths > 0)).all():
                raise ValueError("a vector is zero or not finite")
            others = table.drop_columns("row").to_pylist()
            items = [Item(os.fsdecode(row["id"]), os.fsdecode(row["path"])) for row in others]
            for item, group in groupby(range(len(rows)), items.__getitem__):
                places = list(group)
                values = [[others[n][key] for key in ("start", "end", "keywords")] for n in places]
                found = rows[places] / lengths[places], [window_of(*each) for each in values]
                yield item.name, others[places[0]]["content"], found
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise DataError(f"{path}: no part, or damaged ({error}); embed it again") from error


def read_manifest(path: Path) -> dict[str, Any]:
    """A part's manifest; raises DataError if it is none."""
    try:
        found = json.loads(path.read_bytes())
        wrong = [key for key, kind in KINDS.items() if type(found[key]) is not kind]
        if wrong or found["contract"] != CONTRACT:
            raise ValueError(f"{wrong[0]} is {found[wrong[0]]}" if wrong else "another version")
        return found
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no manifest of a part ({error}); remove it") from error


def is_whole(manifest: Path) -> bool:
    """Whether a part has its manifest, and the table that this names."""
    table = manifest.with_suffix(".parquet")
    return manifest.is_file() and read_manifest(manifest)["parquet"] == _digest(table)


def _job(manifest: dict[str, Any]) -> dict[str, Any]:
    """What all parts of a job have in common."""
    return {key: manifest[key] for key in SAME}


def _digest(path: Path) -> str:
    return hash_file(path, hashlib.sha256()).hexdigest() if path.is_file() else ""


def _schema(dim: int) -> Any:
    columns = {"id": pa.binary(), "path": pa.binary(), "start": pa.float64(), "end": pa.float64(),
               "row": pa.list_(pa.float16(), dim), "keywords": pa.string(),
               "content": pa.binary(32)}  # fmt: skip
    return pa.schema(list(columns.items()))
