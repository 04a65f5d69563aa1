"""A directory with one ``.npy`` file per id, which an interrupted job can continue to fill."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from espnet_plugin.data.manifest import Manifest, Note
from espnet_plugin.data.record import Record
from espnet_plugin.data.scp import file_stem, write_scp
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.hashing import stamp


class ArrayStore:
    """Arrays of files, by id under one directory.

    Args:
        directory: Directory of the arrays.
        files: File that each id's array is made of, at least for the ids of this job.
        maker: Record of what makes the arrays, without the files.
        job: Number of the job in a job array.
    """

    def __init__(
        self,
        directory: str | Path,
        files: Mapping[str, str],
        *,
        maker: Record,
        job: str = "1",
    ) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._manifest = Manifest(directory, maker=maker, job=job)
        self._files = files
        # before anything is read, so the next run notices later changes
        self._stamps = {key: stamp(file) for key, file in files.items()}
        notes = self._manifest.current(files)
        self._entries = {key: self._entry(note) for key, note in notes.items()}

    @staticmethod
    def _entry(note: Note) -> str:
        """The list's entry of an id."""
        return str(note.result)

    def path(self, key: str) -> Path:
        """File of an id."""
        return self.directory / f"{file_stem(key)}.npy"

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Ids whose array is missing, or was made from another file or by another model."""
        return [key for key in keys if key not in self._entries]

    def save(self, items: Mapping[str, Any]) -> None:
        """Stores the arrays of ids."""
        with self._manifest as manifest:
            for key, array in items.items():
                path = self.path(key)
                with atomic_path(path) as temporary:
                    np.save(temporary, array)
                self._note(manifest, key, path)

    def _note(self, manifest: Manifest, key: str, path: Path, facts: Any = None) -> None:
        manifest.add(key, self._files[key], self._stamps[key], result=path, facts=facts)
        self._entries[key] = self._entry(Note(str(path), facts))

    def write_list(
        self, path: str | Path, keys: Collection[str], unreadable: Mapping[str, str], *, what: str
    ) -> None:
        """Writes a list of the arrays, and beside it a list of what could not be read.

        Args:
            path: Path of the list, ``<name>.scp`` or ``<name>.<job>.scp``; the reasons go to
                ``unreadable_<what>[.<job>].txt``.
            keys: Ids to list.
            unreadable: Reason for each id whose file could not be read.
            what: Name of the files that the arrays were made of, a plural.

        Raises:
            DataError: If not one id has an array.
        """
        path = Path(path)
        entries = {key: self._entries[key] for key in keys if key in self._entries}
        number = write_scp(path, entries)
        logging.info(f"{path}: {what}: {number} of {len(keys)}")
        report = path.with_name(f"unreadable_{what}{''.join(path.suffixes[:-1])}.txt")
        if unreadable:
            write_scp(report, unreadable)
            logging.warning(
                f"{what} that cannot be read, skipped: {len(unreadable)} of {len(keys)}; {report} "
                "lists them. Repair them and run this again, or leave them out."
            )
        else:
            report.unlink(missing_ok=True)
        if number == 0:
            raise DataError(f"{path}: not one of the {what} could be read")
