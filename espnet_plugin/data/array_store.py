"""A directory of one ``.npy`` per id, which an interrupted job can go on filling."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from espnet_plugin.data.scp import DataError, write_scp
from espnet_plugin.utils.atomic import atomic_path, write_text


def describe_source(**options: Any) -> dict[str, Any]:
    """What makes the arrays, for ``source.yaml``; local files count by their content.

    Args:
        **options: Names and options; one that is a local file or directory gets a SHA-256 beside
            it, so that a model that was trained anew under its old name is another source.
    """
    source: dict[str, Any] = {}
    for name, value in options.items():
        source[name] = value
        if isinstance(value, str) and value and Path(value).exists():
            source[f"{name}_sha256"] = _content_hash(Path(value))
    return source


def _content_hash(path: Path) -> str:
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
    for file in files:
        digest.update(file.name.encode("utf-8"))
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


class ArrayStore:
    """Arrays by id under one directory, all made by the same model.

    Args:
        directory: Where the arrays lie.
        source: What makes them, e.g. the model's name; kept in ``source.yaml``.
        buckets: Spread the files over 256 subdirectories: file systems and tools get slow with
            hundreds of thousands of files in one.

    Raises:
        DataError: When the directory was filled by another source.
    """

    def __init__(
        self, directory: str | Path, *, source: Mapping[str, Any], buckets: bool = False
    ) -> None:
        self.directory = Path(directory)
        self.buckets = buckets
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "source.yaml"
        if path.is_file():
            earlier = yaml.safe_load(path.read_text(encoding="utf-8"))
            if earlier != dict(source):
                raise DataError(
                    f"{self.directory} was filled by {earlier}, not by {dict(source)}; "
                    "remove it or choose another --output_dir"
                )
        else:
            write_text(path, yaml.safe_dump(dict(source)))

    def path(self, key: str) -> Path:
        """File of an id."""
        if self.buckets:
            bucket = hashlib.md5(key.encode("utf-8"), usedforsecurity=False).hexdigest()[:2]
            return self.directory / bucket / f"{key}.npy"
        return self.directory / f"{key}.npy"

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Ids that have no array yet; a file that exists is complete, since writing is atomic."""
        return [key for key in keys if not self.path(key).is_file()]

    def missing_from_all_jobs(self, keys: Iterable[str]) -> list[str]:
        """Ids that have no array in this directory or, in ``<name>.<job>``, its job's siblings."""
        directories = [self.directory]
        if self.directory.suffix[1:].isdigit():
            directories = sorted(self.directory.parent.glob(f"{self.directory.stem}.*"))
        names = {key: self.path(key).relative_to(self.directory) for key in keys}
        return [
            key
            for key, name in names.items()
            if not any((directory / name).is_file() for directory in directories)
        ]

    def save(self, key: str, array: np.ndarray) -> None:
        """Stores an array."""
        with atomic_path(self.path(key)) as temporary:
            np.save(temporary, array)

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
        number = write_scp(path, {key: self.path(key) for key in keys if self.path(key).is_file()})
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
