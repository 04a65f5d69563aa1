"""Released checkpoints, downloaded and converted once.

Each becomes a directory in ``$SPEECHCLIP_CACHE`` (default ``~/.cache/speechclip``) that loads
without the network. The authors publish neither versions nor checksums. A record of the first
download is kept, and later downloads must be the same.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from espnet_plugin.pretrained.released import ReleasedModel
from espnet_plugin.pretrained.stored_model import FORMAT_VERSION
from espnet_plugin.teachers.hub import from_cache_or_hub
from espnet_plugin.utils.disk import require_space, size_text
from espnet_plugin.utils.files import cache_directory
from espnet_plugin.utils.hashing import hash_file
from espnet_plugin.utils.scratch import new_directory
from espnet_plugin.utils.small_files import read_json

RECORD_FILE = "released.json"
_SHA256_DIGITS = 64


@dataclass(frozen=True)
class Fetched:
    """The file that a converted model was made of.

    Attributes:
        repository: Name of the repository on the Hugging Face hub.
        path: Path of the file in the repository.
        revision: Commit of the repository that the file is from.
        sha256: SHA-256 of the file.
        size: Size of the file in bytes.
        format_version: Version of the format of the directory that it was converted into.
    """

    repository: str
    path: str
    revision: str
    sha256: str
    size: int
    format_version: int = FORMAT_VERSION


def fetched(model: ReleasedModel) -> Fetched | None:
    """The file that a released model in the cache was made of, or None if it is not there."""
    with suppress(OSError, TypeError, ValueError):  # not there, damaged, or with other facts
        found = Fetched(**read_json(cache_directory() / model.name / RECORD_FILE))
        if (found.repository, found.path) == (model.repository, model.path):
            return found
    return None


def fetch_released(model: ReleasedModel, *, refresh: bool = False) -> Path:
    """Gives a released model as an exported one; downloads and converts it if it is not cached.

    One process at a time does that for a model; others wait. The directory appears when it is
    complete.

    Args:
        model: The released model that is wanted.
        refresh: Whether to download and convert it again.

    Returns:
        The directory of the exported model.

    Raises:
        FileNotFoundError: If it is not in the hub's cache and cannot be downloaded.
        NotEnoughSpaceError: If the disk cannot hold it.
        ValueError: If the download is damaged, has changed since the first one, or is a model of
            another architecture.
    """
    directory = cache_directory() / model.name
    if refresh or not _is_here(model):
        with _only_process(directory):
            if refresh or not _is_here(model):  # made in the meantime
                _download_and_convert(model, directory, refresh=refresh)
    return directory


def _is_here(model: ReleasedModel) -> bool:
    record = fetched(model)
    return record is not None and record.format_version == FORMAT_VERSION


@contextmanager
def _only_process(directory: Path) -> Iterator[None]:
    directory.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory.with_name(f".{directory.name}.lock"))
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        logging.warning(f"{directory.name}: another process is fetching it; waiting")
        held = lock.acquire()
    with held:
        yield


def _download_and_convert(model: ReleasedModel, directory: Path, *, refresh: bool) -> None:
    from espnet_plugin.pretrained.convert.converter import convert_checkpoint

    before = fetched(model)
    known = None if before is None or refresh else before.revision
    file = _download(model, known or "main", refresh=refresh)
    # .../snapshots/<commit>/<path>
    revision = file.parents[len(PurePosixPath(model.path).parts) - 1].name
    size = file.stat().st_size
    record = Fetched(model.repository, model.path, revision, _checksum(file, model), size)
    if before is not None and before.sha256 != record.sha256:
        raise ValueError(
            f"{model.name}: {model.path} of {model.repository} has changed: SHA-256 "
            f"{before.sha256} before, {record.sha256} at revision {revision}. The model made of "
            f"the first one stays in {directory}; remove that directory if you trust the new file"
        )
    remedy = "name another directory in SPEECHCLIP_CACHE"
    require_space(directory.parent, size, what=f"The files of {model.name}", remedy=remedy)
    logging.info(f"{model.name}: converting {file}")
    with new_directory(directory, force=True) as target:
        report = convert_checkpoint(file, target)
        if report.architecture != model.architecture:
            raise ValueError(f"{file}: is a {report.architecture} model, not {model.architecture}")
        text = json.dumps(asdict(record), indent=2)
        (target / RECORD_FILE).write_text(text + "\n", encoding="utf-8")
    logging.info(f"{model.name}: kept in {directory}")


def _download(model: ReleasedModel, revision: str, *, refresh: bool) -> Path:
    """The authors' file in the hub's cache."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    def load(**options: Any) -> Path:
        commit = revision
        if not options:  # not in the cache
            url = hf_hub_url(model.repository, model.path, revision=revision)
            found = get_hf_file_metadata(url)
            commit = found.commit_hash or revision
            size = size_text(found.size) if found.size else "an unknown size"
            _introduce(model, f"downloading {size} from {url}")
        file = hf_hub_download(
            model.repository, model.path, revision=commit, force_download=refresh, **options
        )
        if options:
            _introduce(model, f"taken from {file}")
        return Path(file)

    return from_cache_or_hub(
        load,
        refresh=refresh,
        missing=f"{model.name}: not yet in {cache_directory()}, and no {model.path} of "
        f"{model.repository}",
        remedy="The first download needs a connection to the hub, and HF_HUB_OFFLINE unset. If "
        "you have a copy, run speechclip convert FILE DIRECTORY, and give "
        "DIRECTORY instead of the name",
    )


def _introduce(model: ReleasedModel, origin: str) -> None:
    # as warnings, which show even if logging is not set up
    logging.warning(f"{model.name}: {model.description}")
    logging.warning(f"{model.name}: licences: {model.licence}")
    logging.warning(f"{model.name}: {origin}")


def _checksum(file: Path, model: ReleasedModel) -> str:
    """SHA-256 of a file in the hub's cache; a file is removed if it is not the announced one."""
    checksum = hash_file(file, hashlib.sha256()).hexdigest()
    # the cache stores a file under its etag, which is the SHA-256 of a large file
    blob = file.resolve()
    if len(blob.name) == _SHA256_DIGITS and blob.name != checksum:
        file.unlink()
        blob.unlink(missing_ok=True)
        raise ValueError(
            f"{model.name}: {file} was cut off or changed on its way: its SHA-256 is "
            f"{checksum}, the hub announced {blob.name}. It has been removed; try again"
        )
    return checksum
