"""Fetch and unpack the parts of a corpus that are missing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from espnet_plugin.data.record import is_made_from, make_record, write_record
from espnet_plugin.utils.disk import size_text
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.hashing import stamp
from espnet_plugin.utils.progress import progress
from espnet_plugin.utils.unpack import unpack

from .fetch import Resource, fetch


def download(parts: Sequence[Resource], target: Path) -> None:
    """Fetch and unpack each part. You may remove the archives afterwards.

    Raises:
        DataError: If a part cannot be fetched. The others are fetched first.
    """
    failures = []
    for part in parts:
        archive = target / part.name
        unfinished = archive.exists() or archive.with_name(f"{archive.name}.part").exists()
        there = any((target / name).exists() for name in part.present)
        if there and not unfinished:
            logging.info(f"{part.name}: not needed, {target} has its files")
            continue
        folder = target / part.folder
        size = size_text(part.size) if part.size else "size unknown"
        logging.info(f"{part.name} ({size}) -> {folder}")
        try:
            archive_stamp = stamp(fetch(part, target))
            record = make_record("unpacking", {"archive": archive_stamp}, version=1)
            unpacked = folder / f".{part.name}"
            if there and is_made_from(unpacked, record):
                logging.info(f"{part.name}: unpacked already")
                continue
            follow = partial(progress, description=f"unpacking {part.name}", unit="file")
            unpack(archive, folder, follow=follow)
            write_record(unpacked, record)
        except ValueError as error:  # a DataError too
            failures.append(str(error))
    if failures:
        raise DataError(
            "\n".join([*failures, "What was fetched is kept: run this again to continue."])
        )
