"""Fetch and unpack the parts of a corpus, those that are not there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from humanfriendly import format_size

from espnet_plugin.data.download import Resource, fetch
from espnet_plugin.data.scp import DataError
from espnet_plugin.data.unpack import unpack


@dataclass(frozen=True)
class Part:
    """An archive of a corpus.

    Attributes:
        resource: What to fetch; ``{name}`` and ``{directory}`` in its ``by_hand`` are filled in.
        folder: Where it is unpacked, relative to the corpus's folder.
        present: Any of these, relative to the corpus's folder, says that nothing needs fetching.
    """

    resource: Resource
    folder: str
    present: tuple[str, ...]


def download(parts: Sequence[Part], target: Path) -> None:
    """Fetches and unpacks each part; archives stay until they are removed by hand.

    Raises:
        DataError: A part cannot be had. The others are fetched first.
    """
    failures = []
    for part in parts:
        archive = target / part.resource.name
        unfinished = archive.exists() or archive.with_name(f"{archive.name}.part").exists()
        if any((target / name).exists() for name in part.present) and not unfinished:
            logging.info(f"{part.resource.name}: not needed, {target} has its files")
            continue
        size = (
            format_size(part.resource.size, binary=True) if part.resource.size else "size unknown"
        )
        logging.info(f"{part.resource.name} ({size}) -> {target / part.folder}")
        by_hand = part.resource.by_hand.format(name=part.resource.name, directory=target)
        try:
            fetched = fetch(replace(part.resource, by_hand=by_hand), target)
            unpack(fetched, target / part.folder)
        except DataError as error:
            failures.append(str(error))
    if failures:
        raise DataError(
            "\n".join([*failures, "What was fetched is kept: run this again to go on."])
        )
