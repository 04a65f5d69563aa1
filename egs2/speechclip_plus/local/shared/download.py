"""Fetch and unpack the parts of a corpus, those that are not there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from humanfriendly import format_size

from espnet_plugin.data.download import Resource, fetch
from espnet_plugin.data.scp import DataError
from espnet_plugin.data.unpack import marker_of, unpack


def download(parts: Sequence[Resource], target: Path) -> None:
    """Fetches and unpacks each part; archives stay until they are removed by hand.

    Raises:
        DataError: A part cannot be had. The others are fetched first.
    """
    failures = []
    for part in parts:
        archive = target / part.name
        unfinished = archive.exists() or archive.with_name(f"{archive.name}.part").exists()
        there = any((target / name).exists() for name in part.present)
        if there and not unfinished:
            logging.info(f"{part.name}: not needed, {target} has its files")
            continue
        if part.present and not there:
            marker_of(archive, target / part.folder).unlink(missing_ok=True)  # they were removed
        size = format_size(part.size, binary=True) if part.size else "size unknown"
        logging.info(f"{part.name} ({size}) -> {target / part.folder}")
        try:
            unpack(fetch(part, target), target / part.folder)
        except ValueError as error:  # DataError is one, too
            failures.append(str(error))
    if failures:
        raise DataError(
            "\n".join([*failures, "What was fetched is kept: run this again to go on."])
        )
