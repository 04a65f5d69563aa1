"""Bring an index up to date with folders of images and recordings.

Each batch of images, and each recording, is one transaction: its vectors are on the disk before the
catalog counts them. A killed process loses its current batch, and the next run continues there.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from espnet_plugin.apps.search.catalog import FILE, Catalog, State, Window
from espnet_plugin.apps.search.model import IndexedModel, check_model, check_words
from espnet_plugin.apps.search.vectors import FILE as VECTORS_FILE
from espnet_plugin.apps.search.vectors import write_rows
from espnet_plugin.data.record import make_record, read_record, require_fresh, write_record
from espnet_plugin.media.audio import is_recording
from espnet_plugin.media.folders import absolute_folders, find_files, is_gone, require_media
from espnet_plugin.media.images import HEIF_PACKAGE, is_image, lacks_package
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.hashing import hash_file, inode_stamp
from espnet_plugin.utils.progress import counted, progress

if TYPE_CHECKING:
    from espnet_plugin.apps.search.encoder import ClipEncoder

LOCK = "lock"
BATCH = 64
READERS = 4
Item = TypeVar("Item")
Windows = tuple[np.ndarray, list[Window]]  # embeddings (windows, dim), and what they are of
Embedded = tuple[str, bytes, Windows]  # a file, SHA-256 of its content, its vectors


def _number(words: str) -> Any:
    return field(default=0, metadata={"words": words})


@dataclass
class Update:
    """Counts what a run did with images and recordings, and says it as text.

    Attributes:
        recognised: Number of files with known content under another name: moved, renamed or copied.
        unreadable: Reason for each newly unreadable file, which the next run tries again.
        merged, elsewhere: Numbers of files of parts: those whose vectors the index has, and those
            that are not here as they were.
        left_out: Number of HEIC files, if the package that reads them is missing.
        images, recordings, windows: Numbers of what the index has now.
    """

    embedded: int = _number("embedded")
    merged: int = _number("merged")
    elsewhere: int = _number("left out, not here as they were when they were embedded")
    recognised: int = _number("recognised under another name")
    unchanged: int = _number("unchanged")
    removed: int = _number("removed")
    unreadable: dict[str, str] = field(default_factory=dict, metadata={"words": "unreadable"})
    still_unreadable: int = _number("unreadable as before")
    left_out: int = _number("in HEIC left out")
    images: int = 0
    recordings: int = 0
    windows: int = 0

    def __str__(self) -> str:
        done = []
        for each in fields(self):
            value = getattr(self, each.name)
            if each.metadata and value:
                number = len(value) if isinstance(value, dict) else value
                done.append(f"{number:,} {each.metadata['words']}")
        held = counted(self.images, "image")
        if self.recordings:
            windows = counted(self.windows, "window")
            held += f" and {counted(self.recordings, 'recording')} ({windows})"
        return f"{held} in the index" + (f": {', '.join(done)}" if done else "")


def check_folders(directory: Path, folders: Iterable[str | Path]) -> list[str]:
    """Absolute paths of folders to index; this is quick, to come before a model is loaded.

    Args:
        directory: Directory of the index, which need not be there yet.
        folders: Folders with images or recordings.

    Raises:
        DataError: If a folder is missing, a new index would get nothing from it, or the index's own
            folder holds something else.
    """
    listed = absolute_folders(folders)
    inside = sorted(directory.iterdir()) if directory.is_dir() else []
    if links := [path for path in inside if path.is_symlink()]:
        # from somebody else: files elsewhere would be overwritten
        raise DataError(f"{links[0]}: a link, which an index never has; remove it")
    if not (directory / FILE).is_file():
        if others := [path.name for path in inside if path.name != LOCK]:
            raise DataError(f"{directory} holds other files ({others[0]}); name a new folder")
        for folder in listed:
            require_media(folder)
    return listed


def update_index(
    directory: str | Path,
    folders: Iterable[str | Path],
    *,
    model: IndexedModel,
    encoder: ClipEncoder,
    embed_recording: Callable[[str], Windows] | None = None,
    embedded: Iterable[Embedded] = (),
    problems: Mapping[str, str] | None = None,
    force: bool = False,
    batch_size: int = BATCH,
) -> Update:
    """Indexes the images and recordings below folders; files elsewhere stay as they are.

    Args:
        directory: Directory of the index, which is made if it is missing.
        folders: Folders to search, with all below them; by default those of the earlier runs.
        model: The model of the encoder.
        encoder: Encoder of images, which is not used if none is new.
        embed_recording: Function that embeds the windows of a recording, and raises DataError if it
            cannot be read or is silent. Without it, recordings are not looked for.
        embedded: Files with their vectors. Those that are not here as they were are left out.
        problems: Reasons why files were left out when ``embedded`` was made, by their paths. The
            next run tries them again.
        force: Whether to make an index of another model, ``min_score`` or version again.
        batch_size: Number of images, or of files of ``embedded``, in a transaction.

    Raises:
        DataError: If a folder is missing, a new index gets nothing, another process writes the
            index, another model, ``min_score`` or version of the code made it (without ``force``),
            or it is damaged.
    """
    directory = Path(directory)
    listed = check_folders(directory, folders)
    if not listed and not embedded and not directory.is_dir():
        raise DataError(f"{directory}: no index yet; name the folders of images or recordings")
    directory.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(directory / LOCK).acquire(timeout=0)  # a killed process frees it
    except Timeout:
        raise DataError(
            f"{directory} is being written by another process; wait until it is done, or stop it"
        ) from None
    with lock, contextlib.closing(Catalog(directory, create=True)) as catalog:
        run = _Run(directory, catalog, encoder, embed_recording)
        listed = run.begin(listed, model, force=force)
        run.add_embedded(embedded, batch_size)
        run.add_problems(problems or {})
        run.add_files(listed, batch_size)
        run.remove_gone(listed)
        run.result.images, run.result.recordings, run.result.windows, _ = catalog.counts()
        return run.result


@dataclass
class _Run:
    directory: Path
    catalog: Catalog
    encoder: ClipEncoder
    embed_recording: Callable[[str], Windows] | None
    result: Update = field(default_factory=Update)
    known_problems: dict[str, str] = field(default_factory=dict)

    def begin(self, folders: list[str], model: IndexedModel, *, force: bool) -> list[str]:
        """Notes folders and model; returns the folders of this run."""
        record = make_record("index", {})
        with self.catalog.transaction():
            state, self.known_problems = self.catalog.state(), self.catalog.problems()
            made_by = IndexedModel(state.model, state.fingerprint, state.min_score)
            same = read_record(self.directory) == record
            same = same and replace(made_by, name=model.name) == model
            if state.model and force and not same:
                folders = absolute_folders([*folders, *state.folders])
                self.catalog.forget_files()
                state = State()
            elif state.model:
                check_model(self.directory, made_by, model)
                if self.catalog.counts()[1]:
                    check_words(self.directory, made_by, model)
                require_fresh([self.directory], remedy="make it again with --force")
            is_new = not state.model  # also where it is made again
            folders = folders or absolute_folders(state.folders)
            state.model, state.fingerprint = model.name, model.fingerprint
            state.min_score = model.min_score
            state.folders = sorted({*state.folders, *folders})
            self.catalog.set_state(state)
        if is_new:
            write_record(self.directory, record)
        if not self.catalog.vectors():  # a search that runs now keeps the old file open
            (self.directory / VECTORS_FILE).unlink(missing_ok=True)
        return folders

    def add_files(self, folders: list[str], batch_size: int) -> None:
        """Indexes what is new or has changed."""
        for folder in folders:
            try:
                require_media(folder)
            except DataError as error:  # other folders may have changed
                logging.error(error)
        new = list(self._changed(find_files(folders, self._is_wanted)))
        new.sort(key=lambda file: not is_image(file[0]))  # images in full batches
        with ThreadPoolExecutor(READERS) as readers:
            shown = progress(new, description="files read", unit="file")
            for images, files in groupby(shown, lambda file: is_image(file[0])):
                for batch in batched(files, batch_size if images else 1):
                    self._index(batch, readers)
        if self.result.left_out:
            logging.warning(
                f"left out: {counted(self.result.left_out, 'HEIC image')}. {HEIF_PACKAGE}; or "
                "convert: magick mogrify -format jpg DIR/*.HEIC"
            )

    def add_embedded(self, files: Iterable[Embedded], batch_size: int) -> None:
        """Adds files that have vectors already, if they are here as they were then."""
        files = progress(files, description="files of parts", unit="file")
        with ThreadPoolExecutor(READERS) as readers:
            for batch in batched(files, batch_size):
                stamps = [inode_stamp(path) for path, *_ in batch]
                contents = readers.map(_content, [path for path, *_ in batch])
                here = [
                    (*file, stamp)
                    for file, stamp, content in zip(batch, stamps, contents, strict=True)
                    if stamp is not None and content == file[1]
                ]
                with self.catalog.transaction():
                    new = {
                        content: found
                        for path, content, found, _ in here
                        if not self._is_known(path, content)
                    }
                    if new:
                        self._append(new)
                    for path, content, _, stamp in here:
                        self.catalog.put(path, stamp, content)
                self.result.merged += len(here)
                self.result.elsewhere += len(batch) - len(here)

    def add_problems(self, problems: Mapping[str, str]) -> None:
        """Notes why files that are here have no vectors."""
        with self.catalog.transaction():
            for path, reason in problems.items():
                if inode_stamp(path) is not None:
                    self._skip(path, reason)

    def _is_wanted(self, name: str) -> bool:
        return is_image(name) or (self.embed_recording is not None and is_recording(name))

    def _changed(self, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yields (path, stamp) of what is new or has changed."""
        for path in paths:
            stamp = inode_stamp(path)
            if stamp is None:  # a broken link, or a file removed just now
                continue
            if self.catalog.stamp(path) == stamp:
                self.result.unchanged += 1
            elif lacks_package(path):
                self.result.left_out += 1
            else:
                yield path, stamp

    def _index(self, batch: list[tuple[str, str]], readers: ThreadPoolExecutor) -> None:
        contents = list(readers.map(_content, [path for path, _ in batch]))
        new = {
            content: file
            for file, content in zip(batch, contents, strict=True)
            if isinstance(content, bytes) and not self._is_known(file[0], content)
        }
        # a recording is embedded in this thread, which an interrupt ends at once
        mapped = readers.map if is_image(batch[0][0]) else map
        read = dict(zip(new, mapped(self._read, new.values()), strict=True))
        good = {content: item for content, item in read.items() if not isinstance(item, str)}
        if good and is_image(batch[0][0]):
            rows = self.encoder.encode(list(good.values()))[:, None]  # (batch, 1, dim)
            good = dict(zip(good, ((row, [Window()]) for row in rows), strict=True))
        with self.catalog.transaction():
            if good:
                self._append(good)
            for (path, stamp), content in zip(batch, contents, strict=True):
                if isinstance(content, str):
                    self._skip(path, content)
                elif not self._is_known(path, content):
                    self._skip(path, read[content])
                else:
                    self.catalog.put(path, stamp, content)
                    self.result.recognised += 1
        self.result.embedded += len(good)
        self.result.recognised -= len(good)

    def _is_known(self, path: str, content: bytes) -> bool:
        """Whether it has vectors; a recording that is renamed to an image has none."""
        return self.catalog.has_vectors(content, windows=not is_image(path))

    def _read(self, file: tuple[str, str]) -> Any:
        """Reads a file: gives the image, or a recording's windows, or what is wrong with it."""
        path, stamp = file
        read: Any = self.encoder.read if is_image(path) else self.embed_recording
        try:
            item = read(path)
        except DataError as error:  # other errors are not about the file
            return " ".join(str(error).split())
        return item if inode_stamp(path) == stamp else f"{path}: changed while it was read"

    def _append(self, found: dict[bytes, Windows]) -> None:
        """Adds vectors of new contents."""
        embeddings = np.concatenate([rows for rows, _ in found.values()])  # (rows, dim)
        state, start = self.catalog.state(), self.catalog.vectors()
        if not state.dim:
            state.dim = embeddings.shape[1]
            self.catalog.set_state(state)
        if embeddings.shape[1] != state.dim:
            raise DataError(f"{self.directory} has vectors of {state.dim} numbers, not of these")
        write_rows(self.directory / VECTORS_FILE, start, embeddings)
        windows = ((content, window) for content, (_, each) in found.items() for window in each)
        for row, (content, window) in enumerate(windows, start):
            self.catalog.add_vector(row, content, window)

    def _skip(self, path: str, reason: str) -> None:
        reason = reason if reason.startswith(path) else f"{path}: {reason}"
        self.catalog.put(path, "", None, reason)
        if path in self.known_problems:
            self.result.still_unreadable += 1
            return
        self.result.unreadable[path] = reason
        logging.warning(f"skipped {reason}")

    def remove_gone(self, folders: list[str]) -> None:
        """Forgets files that were removed."""
        gone = [path for folder in folders for path in self.catalog.under(folder) if is_gone(path)]
        with self.catalog.transaction():
            for path in gone:
                self.catalog.remove(path)
        self.result.removed = len(gone)


def _content(path: str) -> bytes | str:
    """SHA-256 of a file, or what is wrong with it."""
    try:
        return hash_file(path, hashlib.sha256()).digest()
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})"


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Items in lists of a size."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
