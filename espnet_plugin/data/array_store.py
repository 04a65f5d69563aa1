"""A directory of one ``.npy`` per id, which an interrupted job can go on filling."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from espnet_plugin.data.manifest import Manifest, stamp
from espnet_plugin.data.scp import DataError, file_stem, write_scp
from espnet_plugin.utils.atomic import atomic_path


class ArrayStore:
    """Arrays of files, by id under one directory.

    Args:
        directory: Where the arrays lie.
        files: Id → file that its array is made of, at least those of this job.
        maker: What makes them, e.g. the model's name; local files count by their content.
        job: Number of the job in an array of them.
        buckets: Spread the arrays over 256 subdirectories: file systems and tools get slow with
            hundreds of thousands of files in one.
    """

    def __init__(
        self,
        directory: str | Path,
        files: Mapping[str, str],
        *,
        maker: Mapping[str, Any],
        job: str = "1",
        buckets: bool = False,
    ) -> None:
        self.directory = Path(directory)
        self.buckets = buckets
        self.directory.mkdir(parents=True, exist_ok=True)
        self._manifest = Manifest(directory, maker=maker, job=job)
        self._files = files
        # before anything is read: what changes later is made again by the next run
        self._stamps = {key: stamp(file) for key, file in files.items()}
        self._current = set(self._manifest.current(files))

    def path(self, key: str) -> Path:
        """File of an id."""
        name = f"{file_stem(key)}.npy"
        if self.buckets:
            bucket = hashlib.md5(key.encode("utf-8"), usedforsecurity=False).hexdigest()[:2]
            return self.directory / bucket / name
        return self.directory / name

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Ids whose array is not there, or was made from another file or by another model."""
        return [key for key in keys if key not in self._current]

    def save(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Stores the arrays of ids."""
        with self._manifest as manifest:
            for key, array in arrays.items():
                path = self.path(key)
                with atomic_path(path) as temporary:
                    np.save(temporary, array)
                manifest.add(key, self._files[key], self._stamps[key], result=path)
        self._current.update(arrays)

    def write_list(
        self, path: str | Path, keys: Collection[str], unreadable: Mapping[str, str], *, what: str
    ) -> None:
        """Lists the arrays of the ids that have one, and beside it what could not be read.

        Args:
            path: ``<name>.scp`` or ``<name>.<job>.scp``; the reasons go to
                ``unreadable_<what>[.<job>].txt``.
            keys: Ids.
            unreadable: Id → reason.
            what: Name of the files that the arrays were made of, a plural.

        Raises:
            DataError: When not one id has an array.
        """
        path = Path(path)
        number = write_scp(path, {key: self.path(key) for key in keys if key in self._current})
        logging.info(f"{path}: {number} of {len(keys)} {what}")
        report = path.with_name(f"unreadable_{what}{''.join(path.suffixes[:-1])}.txt")
        if unreadable:
            write_scp(report, unreadable)
            logging.warning(
                f"{len(unreadable)} of {len(keys)} {what} could not be read and were skipped; "
                f"{report} lists them. Repair them and run this again, or leave them out."
            )
        else:
            report.unlink(missing_ok=True)
        if number == 0:
            raise DataError(f"{path}: not one of the {what} could be read")


def job_of(path: str | Path) -> str:
    """Number of the job in ``<name>.<job>.scp``; ``1`` without one."""
    return "".join(Path(path).suffixes[:-1]).lstrip(".") or "1"
