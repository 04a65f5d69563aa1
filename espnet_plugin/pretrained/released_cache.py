"""Released checkpoints, downloaded and converted once.

Each becomes a directory of its own in ``$SPEECHCLIP_CACHE`` (default ``~/.cache/speechclip``) that
loads without the network. The authors publish neither versions nor checksums: what the first
download brought is recorded in it, and a later one must be the same.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from espnet_plugin.pretrained.released import ReleasedModel
from espnet_plugin.pretrained.storage_format import FORMAT_VERSION, new_directory
from espnet_plugin.speechclip.hub import from_cache_or_hub

RECORD_FILE = "released.json"
_SHA256_DIGITS = 64


@dataclass(frozen=True)
class Fetched:
    """Which file a converted model was made of.

    Attributes:
        repository: On the Hugging Face hub.
        path: The file in the repository.
        revision: Commit of the repository.
        sha256: Of the file.
        size: Of the file in bytes.
        format_version: Of the directory that it was converted into.
    """

    repository: str
    path: str
    revision: str
    sha256: str
    size: int
    format_version: int = FORMAT_VERSION


def cache_directory() -> Path:
    """Where converted models are kept: ``$SPEECHCLIP_CACHE``, or ``speechclip`` in XDG's cache."""
    given = os.environ.get("SPEECHCLIP_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "speechclip"


def fetched(model: ReleasedModel) -> Fetched | None:
    """What a released model here was made of; None if it is not here."""
    path = cache_directory() / model.name / RECORD_FILE
    try:
        record = Fetched(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return record if (record.repository, record.path) == (model.repository, model.path) else None


def fetch_released(model: ReleasedModel, *, refresh: bool = False) -> Path:
    """A released model as an exported one, downloaded and converted if it is not here yet.

    One process at a time does that for a model; others wait for it. The directory appears when it
    is complete.

    Args:
        model: Which one.
        refresh: Download and convert it again.

    Returns:
        The directory.

    Raises:
        FileNotFoundError: If it neither lies in the hub's cache nor can be downloaded.
        OSError: If there is no space for it.
        ValueError: If what was downloaded is damaged, has changed since the first time, or is not
            what the table says.
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
    file = _download(model, known or model.revision or "main", refresh=refresh)
    # .../snapshots/<commit>/<path>
    revision = file.parents[len(PurePosixPath(model.path).parts) - 1].name
    size = file.stat().st_size
    record = Fetched(model.repository, model.path, revision, _checksum(file, model), size)
    _check_unchanged(record, before, model, directory)
    _check_space(directory.parent, size)
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
    from humanfriendly import format_size

    def load(**options: Any) -> Path:
        commit = revision
        if not options:  # not in the cache
            url = hf_hub_url(model.repository, model.path, revision=revision)
            found = get_hf_file_metadata(url)
            commit = found.commit_hash or revision
            size = format_size(found.size, binary=True) if found.size else "an unknown size"
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
        remedy="It is downloaded once, which needs a connection to the hub and HF_HUB_OFFLINE "
        "unset. If you have a copy, run speechclip convert FILE DIRECTORY, and give "
        "DIRECTORY instead of the name",
    )


def _introduce(model: ReleasedModel, origin: str) -> None:
    # warnings, which are seen where no logging is set up
    logging.warning(f"{model.name}: {model.description}")
    logging.warning(f"{model.name}: licences: {model.licence}")
    logging.warning(f"{model.name}: {origin}")


def _checksum(file: Path, model: ReleasedModel) -> str:
    """SHA-256 of a file in the hub's cache; one that is not what the hub announced is removed."""
    from huggingface_hub.utils.sha import sha_fileobj

    with open(file, "rb") as content:
        checksum = sha_fileobj(content).hex()
    # the cache stores a file under its etag, which is the SHA-256 of a large one
    blob = file.resolve()
    if len(blob.name) == _SHA256_DIGITS and blob.name != checksum:
        file.unlink()
        blob.unlink(missing_ok=True)
        raise ValueError(
            f"{model.name}: {file} was cut off or changed on its way: its SHA-256 is "
            f"{checksum}, the hub announced {blob.name}. It has been removed; try again"
        )
    return checksum


def _check_unchanged(
    record: Fetched, before: Fetched | None, model: ReleasedModel, directory: Path
) -> None:
    known = before.sha256 if before else model.sha256
    if known in (None, record.sha256):
        return
    accept = (
        f"The model made of the first one stays in {directory}; remove that directory if you trust "
        "the new file"
        if before
        else "If you trust the new file, speechclip convert makes a model of it"
    )
    raise ValueError(
        f"{model.name}: {model.path} of {model.repository} has changed: SHA-256 {known} before, "
        f"{record.sha256} at revision {record.revision}. {accept}"
    )


def _check_space(directory: Path, size: int) -> None:
    from humanfriendly import format_size

    free = shutil.disk_usage(directory).free
    if free < size:
        raise OSError(
            f"{directory}: a converted model needs about {format_size(size, binary=True)}, only "
            f"{format_size(free, binary=True)} are free; SPEECHCLIP_CACHE names another directory"
        )
