"""Bring an index up to date with folders of images.

Each batch is one transaction: its vectors are on the disk before the catalog counts them. A killed
process loses its current batch, and the next run continues there.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from espnet_plugin.data.files import MissingPackageError
from espnet_plugin.data.images import HEIF_PACKAGE, lacks_package
from espnet_plugin.data.scp import DataError
from espnet_plugin.search.approximate import AUTOMATIC, remove_other_codes, update_codes
from espnet_plugin.search.catalog import FILE, Catalog, IndexedImage
from espnet_plugin.search.folders import absolute_folders, find_images, is_gone, stamp_of
from espnet_plugin.search.generations import begin_anew, compact
from espnet_plugin.search.lock import LOCK, writing
from espnet_plugin.search.model import IndexedModel, check_model
from espnet_plugin.search.vectors import GrowingArray, read_rows, vectors_file
from espnet_plugin.utils.hashing import hash_file
from espnet_plugin.utils.progress import progress

BATCH = 64
READERS = 4
# share of vectors without an image from which on they are removed: images may come back
COMPACT_SHARE = 0.5
REMOVE_BATCH = 4096
Item = TypeVar("Item")


class ImageEncoder(Protocol):
    """Embeds images."""

    def read(self, path: str) -> Any:
        """Decodes an image and brings it to the size that is embedded; called from threads.

        Raises:
            DataError: If it cannot be decoded.
        """

    def encode(self, images: Sequence[Any]) -> np.ndarray:
        """Unit-length embeddings (images, dim) of what was read."""


@dataclass
class Update:
    """What a run did, in images.

    Attributes:
        embedded: New content.
        recognised: Known content under another name: moved, renamed or copied.
        unchanged: Unchanged files.
        removed: Missing files.
        unreadable: File → reason, of the files that this run tried.
        pictures: Images in the index now.
        waiting: Unreadable in an earlier run, and unchanged since.
        left_out: HEIC, without the package that reads it.
    """

    embedded: int = 0
    recognised: int = 0
    unchanged: int = 0
    removed: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    pictures: int = 0
    waiting: int = 0
    left_out: int = 0

    def __str__(self) -> str:
        parts = {
            "embedded": self.embedded,
            "recognised under another name": self.recognised,
            "unchanged": self.unchanged,
            "removed": self.removed,
            "unreadable": len(self.unreadable) + self.waiting,
            "in HEIC left out": self.left_out,
        }
        done = ", ".join(f"{number:,} {name}" for name, number in parts.items() if number)
        return f"{self.pictures:,} images in the index" + (f": {done}" if done else "")


def update_index(
    directory: str | Path,
    folders: Iterable[str | Path],
    *,
    model: IndexedModel,
    encoder: ImageEncoder,
    force: bool = False,
    batch_size: int = BATCH,
    approximate_from: int = AUTOMATIC,
) -> Update:
    """Indexes the images below folders; images elsewhere stay as they are.

    Args:
        directory: The index; made if it is missing.
        folders: Searched with all folders below them; none: those of the earlier runs.
        model: The model of the encoder.
        encoder: Embeds images; not used if nothing is new.
        force: Make an index of another model again with this one.
        batch_size: Images in a transaction.
        approximate_from: Number of vectors from which on searches are approximate; they stay so.

    Raises:
        DataError: If a folder is missing, another process writes the index, another model made it
            (without ``force``), or it is damaged.
    """
    directory, listed = Path(directory), absolute_folders(folders)
    if not listed and not directory.is_dir():
        raise DataError(f"{directory}: no index yet; name the folders of images")
    directory.mkdir(parents=True, exist_ok=True)
    links = [path for path in directory.iterdir() if path.is_symlink()]
    if links:  # from a stranger: files elsewhere would be overwritten
        raise DataError(f"{links[0]}: a link, which an index never has; remove it")
    others = sorted({path.name for path in directory.iterdir()} - {LOCK})
    if others and not (directory / FILE).is_file():
        raise DataError(f"{directory} holds other files ({others[0]}); name a new folder")
    with writing(directory):
        catalog = Catalog(directory, create=True)
        try:
            made_by = catalog.model()
            if force and made_by is not None and made_by.fingerprint != model.fingerprint:
                listed = absolute_folders([*listed, *catalog.setting("folders", [])])
                begin_anew(directory, catalog, model)
            run = _Run(directory, catalog, encoder, batch_size)
            run.update(listed, model)
            run.tidy(approximate_from)
            return run.result
        finally:
            catalog.close()


class _Run:
    def __init__(
        self, directory: Path, catalog: Catalog, encoder: ImageEncoder, batch_size: int
    ) -> None:
        self.directory = directory
        self.catalog = catalog
        self.encoder = encoder
        self.batch_size = batch_size
        self.result = Update()
        self.generation = catalog.setting("generation", 0)
        self.vectors: GrowingArray | None = None
        dim = catalog.setting("dim")
        if dim is not None:
            self.vectors = self._open_vectors(dim)

    def _open_vectors(self, dim: int) -> GrowingArray:
        path = vectors_file(self.directory, self.generation)
        return GrowingArray(path, width=dim, rows=self.catalog.vectors())

    def update(self, folders: list[str], model: IndexedModel) -> None:
        check_model(self.directory, self.catalog.model(), model)
        known = self.catalog.setting("folders", [])
        folders = folders or absolute_folders(known)
        with self.catalog.transaction():
            self.catalog.set("model", vars(model))
            self.catalog.set("folders", sorted({*known, *folders}))
        with ThreadPoolExecutor(READERS) as readers:
            new = self._changed(find_images(folders))
            for batch in _batched(
                progress(new, description="images read", unit="image"), self.batch_size
            ):
                self._index(batch, readers)
        if self.result.left_out:
            logging.warning(
                f"{self.result.left_out:,} HEIC images are left out. {HEIF_PACKAGE}; or convert "
                "them: magick mogrify -format jpg DIR/*.HEIC"
            )
        self._remove_gone(folders)
        self.result.pictures, _ = self.catalog.counts()

    def _changed(self, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yields (path, stamp) of what is new or has changed."""
        for path in paths:
            stamp = stamp_of(path)
            if stamp is None:  # a broken link, or a file removed just now
                continue
            known = self.catalog.image(path)
            if known is None or known.stamp != stamp:
                if lacks_package(path):
                    self.result.left_out += 1  # not stored: the package may be installed later
                else:
                    yield path, stamp
            elif known.problem is not None:
                self.result.waiting += 1
            else:
                self.result.unchanged += 1

    def _index(self, batch: list[tuple[str, str]], readers: ThreadPoolExecutor) -> None:
        paths = [path for path, _ in batch]
        contents = dict(zip(paths, readers.map(_content, paths), strict=True))
        new = {
            content: path
            for path, content in contents.items()
            if isinstance(content, bytes) and self.catalog.row_of(content) is None
        }
        read = dict(zip(new, readers.map(self._read, new.values()), strict=True))
        for path, stamp in batch:
            content = contents[path]
            if isinstance(content, bytes) and new.get(content) == path and stamp_of(path) != stamp:
                # another file of that content may be complete
                read[content] = _Problem(f"{path}: changed while it was read", again=True)
        problems = {key: value for key, value in read.items() if isinstance(value, _Problem)}
        good = [content for content in new if content not in problems]
        start = self._append([read[content] for content in good]) if good else 0
        with self.catalog.transaction():
            for row, new_content in enumerate(good, start):
                self.catalog.add_vector(row, new_content)
            for path, stamp in batch:
                content = contents[path]
                if isinstance(content, bytes):
                    problem = problems.get(content)
                    stamp = "" if problem is not None and problem.again else stamp
                    self._put(path, stamp, self.catalog.row_of(content), problem)
                else:
                    self._put(path, stamp, None, content)
        self.result.embedded += len(good)
        self.result.recognised -= len(good)

    def _read(self, path: str) -> Any:
        try:
            return self.encoder.read(path)
        except MissingPackageError as error:  # HEIC by another name
            return _Problem(" ".join(str(error).split()), again=True)
        except DataError as error:  # other errors are not about the image
            return _Problem(" ".join(str(error).split()))

    def _append(self, read: list[Any]) -> int:
        """Returns the row of the first."""
        embeddings = self.encoder.encode(read)  # (batch, dim)
        if self.vectors is None:
            self.catalog.set("dim", embeddings.shape[1])
            self.vectors = self._open_vectors(embeddings.shape[1])
        start = self.vectors.rows
        self.vectors.append(embeddings)
        return start

    def _put(self, path: str, stamp: str, row: int | None, problem: _Problem | None) -> None:
        reason = problem.reason if problem is not None else None
        self.catalog.put(IndexedImage(path, stamp, row, reason))
        if reason is None:
            self.result.recognised += 1
        else:
            self.result.unreadable[path] = reason
            logging.warning(f"skipped {reason if path in reason else f'{path}: {reason}'}")

    def _remove_gone(self, folders: list[str]) -> None:
        for folder in folders:
            gone = (image.path for image in self.catalog.under(folder) if is_gone(image.path))
            for paths in _batched(gone, REMOVE_BATCH):
                with self.catalog.transaction():
                    for path in paths:
                        self.catalog.remove(path)
                self.result.removed += len(paths)

    def tidy(self, approximate_from: int) -> None:
        """Compacts vectors and makes codes when due; removes old files."""
        if self.vectors is None:
            return
        total, live = self.catalog.vectors(), self.catalog.live_vectors()
        if total - live > COMPACT_SHARE * total:
            compact(self.directory, self.catalog)
            total = live
        generation = self.catalog.setting("generation", 0)
        centered_on = self.catalog.setting("centered_on")
        path = vectors_file(self.directory, generation)
        approximate = total >= approximate_from or self.catalog.setting("approximate", False)
        if approximate and total:
            vectors = read_rows(path, width=self.vectors.width, rows=total)
            centered_on = update_codes(
                self.directory, vectors, generation=generation, centered_on=centered_on
            )
            with self.catalog.transaction():
                self.catalog.set("approximate", True)
                self.catalog.set("centered_on", centered_on)
        remove_other_codes(self.directory, generation=generation, centered_on=centered_on)
        for other in self.directory.glob("vectors-*.npy"):
            if other != path:
                other.unlink()


@dataclass(frozen=True)
class _Problem:
    reason: str
    again: bool = False  # the next run tries it again, even if unchanged


def _content(path: str) -> bytes | _Problem:
    """SHA-256 of a file."""
    try:
        return hash_file(path, hashlib.sha256()).digest()
    except OSError as error:
        return _Problem(f"{path}: cannot be read ({error.strerror})")


def _batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
