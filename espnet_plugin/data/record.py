"""What made a thing: the one record beside everything that is kept and used again.

A record has the version of the code that made the thing, every option of its step but
``FREE_OPTIONS``, and a digest of each input. Who uses the thing again compares, names what differs,
and makes it again or refuses. A record is written last. What has none was made before there were
records, or was not finished.

Example:
    >>> record = make_record("vocabulary", {"original": False, "nj": 2}, inputs={"text": "a/text"})
    >>> write_record("tokens.tsv", record)  # tokens.tsv.made_from.json
    >>> require_fresh(["tokens.tsv"], remedy="run stage 5 again")  # a/text is as it was
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from espnet_plugin.data.scp import read_scp
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.files import cache_directory
from espnet_plugin.utils.hashing import content_hash, files_of, inode_stamp, on_disk, stamp
from espnet_plugin.utils.small_files import read_json

RECORD = "made_from.json"

# Raise a number when the step's code makes something else of the same input; a test notices it.
VERSIONS = {
    "recordings": 1,  # stage 2
    "data set": 1,  # stage 3
    "image embeddings": 1,  # stage 4
    "vocabulary": 1,  # stage 5
    "hidden states": 1,  # stage 6
    "training": 1,  # stage 7
    "inference": 1,  # stage 8
    "scores": 1,  # stage 9
    "model": 1,  # stage 10
    "study": 1,
    "SUPERB": 1,
    "index": 1,  # of images and recordings, for search
}

# What changes at most the last bits of a result. Every other option counts, also one that is new.
FREE_OPTIONS = {
    "where it runs": (
        *("config", "ngpu", "num_workers", "nj", "num_threads", "device", "workers", "part"),
        *("python", "inference_nj", "gpu_inference", "num_nodes"),
        *("distributed", "local_rank", "multiprocessing_distributed", "dist_backend"),
        *("dist_init_method", "dist_world_size", "dist_rank", "dist_master_addr"),
        *("dist_master_port", "dist_launcher", "ddp_comm_hook", "gradient_as_bucket_view"),
        *("max_cache_size", "max_cache_fd", "valid_max_cache_size", "clip_conf.cache_dir"),
        *("speech_encoder_conf.cache_dir", "batch_seconds"),
        *("trainer.devices", "trainer.num_nodes", "trainer.accelerator", "trainer.strategy"),
        *("image embeddings/batch_size", "inference/batch_size"),  # of that step only
    ),
    "where it goes": ("output_dir", "output_scp", "output"),
    "what it shows": (
        *(
            "report",
            "log_level",
            "log_interval",
            "num_att_plot",
            "use_matplotlib",
            "use_tensorboard",
        ),
        *("create_graph_in_tensorboard", "use_wandb", "wandb_project", "wandb_id", "wandb_entity"),
        *("wandb_name", "wandb_model_log_interval", "print_config", "detect_anomaly"),
        *("trainer.logger", "trainer.log_every_n_steps", "trainer.enable_model_summary"),
    ),
    "whether it starts": (
        *("help", "resume", "dry_run", "collect_stats", "write_collected_feats", "no_forward_run"),
        *("required", "version", "merge", "max_bad", "trust_remote_code"),
    ),
    "what follows from the others": ("crop_frames",),
}
_FREE = {name for names in FREE_OPTIONS.values() for name in names}
MAY_GROW = {"max_epoch", "trainer.max_epochs"}
_LONGEST = 60  # characters of two values in a message
_CACHED_BYTES = 1 << 20  # a smaller file is read again


@dataclass(frozen=True)
class Record:
    """What made a thing.

    Attributes:
        step: Name of the step, e.g. ``vocabulary``.
        version: Version of the step's code.
        options: Its options by name, as JSON values; ``a.b`` is option b of a.
        inputs: Of each input its name or path, and a digest, or None if only the path is known.
    """

    step: str
    version: Any
    options: Mapping[str, Any]
    inputs: Mapping[str, list[str | None]]

    def digest(self) -> str:
        """A hash of the record, in which a path does not count but what is there."""
        facts = [self.step, self.version, self.options, {k: d for k, (_, d) in self.inputs.items()}]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def make_record(
    step: str,
    options: Mapping[str, Any],
    *,
    inputs: Mapping[str, Any] | None = None,
    version: Any = None,
) -> Record:
    """Makes a step's record; call it before the step reads its inputs.

    Args:
        step: Name of the step.
        options: All options of the step. Those of ``FREE_OPTIONS`` and the inputs are left out.
        inputs: Path or public name of each input, or a pair of that and its digest, if that is
            known; None is left out.
        version: Version of the code, by default that in ``VERSIONS``.
    """
    given = {name: value for name, value in (inputs or {}).items() if value is not None}
    return Record(
        step,
        _plain(VERSIONS[step] if version is None else version),
        {
            name: value
            for name, value in flat(options).items()
            if name not in (inputs or {}) and not {name, f"{step}/{name}"} & _FREE
        },
        {
            name: list(value) if isinstance(value, tuple) else [str(value), digest_of(value)]
            for name, value in given.items()
        },
    )


def flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Options as JSON values, one level deep: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping) and value:
            found.update(flat(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = _plain(value)
    return found


def digest_of(value: Any) -> str:
    """A digest of an input, which does not depend on where it is.

    A list of files (``.scp``) counts by its lines and the records of it, its folder and its files'
    folders; a file counts by size and time if neither it nor the list has one. A folder with a
    record counts by that, another one by its files. Any other file counts by its content, and what
    is not on this disk by its name.
    """
    if not on_disk(value):
        return content_hash(value)
    path = Path(str(value))
    if path.is_dir() and (record := read_record(path)):
        return record.digest()
    if path.suffix == ".scp":
        return _list_digest(path)
    return _cached_hash(path)


def _list_digest(path: Path) -> str:
    entries = read_scp(path)
    digest = hashlib.sha256(content_hash(sorted(entries)).encode())
    folder_record = cache(read_record)
    own = read_record(path) or folder_record(path.parent)
    folders = sorted({os.path.dirname(entry) for entry in entries.values()} - {str(path.parent)})
    made = [own, *(folder_record(Path(folder)) for folder in folders)]
    digest.update(repr([record.digest() for record in made if record]).encode())
    for _, entry in sorted(entries.items()):
        record = own or folder_record(Path(os.path.dirname(entry)))
        digest.update(repr(os.path.basename(entry) if record else stamp(entry)).encode())
    return digest.hexdigest()


def _cached_hash(path: Path) -> str:
    """The hash of a file's or folder's content, computed again when a stamp has changed."""
    files = files_of(path)
    if sum(file.stat().st_size for file in files) < _CACHED_BYTES:
        return content_hash(path)
    stamps = repr([inode_stamp(file) for file in files])
    name = hashlib.sha256(os.path.abspath(path).encode(errors="surrogateescape")).hexdigest()
    kept = cache_directory() / "digests" / name[:32]
    try:
        known, found = kept.read_text(encoding="utf-8").split("\n")
        if known == stamps:
            return found
    except (OSError, ValueError):  # not cached yet, or damaged
        pass
    found = content_hash(path)
    try:
        write_text(kept, f"{stamps}\n{found}")
    except OSError:  # a cache that cannot be written
        pass
    return found


def record_path(result: str | Path) -> Path:
    """The record of a result, which is a file or a folder."""
    result = Path(result)
    return result / RECORD if result.is_dir() else result.with_name(f"{result.name}.{RECORD}")


def write_record(result: str | Path, record: Record) -> None:
    """Writes the record of a file or folder; call it when the file or folder is complete."""
    write_text(record_path(result), json.dumps(asdict(record), indent=2) + "\n")


def read_record(result: str | Path) -> Record | None:
    """Reads a result's record; None without one, of a version that had another form, or damaged."""
    try:
        found = Record(**read_json(record_path(result)))
        for value, digest in found.inputs.values():
            if not isinstance(value, str) or not isinstance(digest, (str, type(None))):
                return None
        flat(found.options)
    except (AttributeError, OSError, RecursionError, TypeError, ValueError):
        return None
    return found


def differences(
    before: Record, now: Record, *, defaults: Mapping[str, Any] | None = None
) -> list[str]:
    """Says what differs between two records, a text for each difference.

    Args:
        before: The record of what is there.
        now: The record that it would have now.
        defaults: Value of an option that ``before`` does not know.
    """
    found = []
    if (before.step, before.version) != (now.step, now.version):
        found.append(f"its code: {before.step} {before.version} then, {now.step} {now.version} now")
    unknown = flat(defaults or {})
    for name in sorted({*before.options, *now.options}):
        old, new = (each.options.get(name, unknown.get(name)) for each in (before, now))
        grew = name in MAY_GROW and old and new and new > old
        if old != new and not grew:
            found.append(f"{name}: {_shown(old, new)}")
    for name in sorted({*before.inputs, *now.inputs}):
        old, was = before.inputs.get(name, [None, ""])
        new, digest = now.inputs.get(name, [None, ""])
        if was != digest and not (was is None and old == new):
            found.append(f"{name}: {_shown(old, new) if old != new else f'{new} has changed'}")
    return found


def _shown(old: Any, new: Any) -> str:
    text = f"{'none' if old is None else old} then, {'none' if new is None else new} now"
    return text if len(text) <= _LONGEST else "another value then"


def is_made_from(result: str | Path, record: Record) -> bool:
    """Whether a file or folder can be used again; the log says why one is made again."""
    before = read_record(result)
    if before is None:
        return False
    if found := differences(before, record):
        logging.info(f"{result} is made again: {'; '.join(found)}")
    return not found


def require_made_from(
    result: str | Path,
    record: Record,
    *,
    remedy: str,
    before: Record | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Raises when a result was not made from what a record says.

    Args:
        result: Path of a file or folder.
        record: The record that it has to have.
        remedy: What the message advises.
        before: The record that it has, by default the one beside it.
        defaults: Value of an option that its record does not know.

    Raises:
        DataError: If something differs, or the result has no record.
    """
    before = before or read_record(result)
    if before is None:
        raise DataError(
            f"{record_path(result)}: missing, or of an earlier version, so what made this is not "
            f"known; {remedy}"
        )
    if found := differences(before, record, defaults=defaults):
        raise DataError(f"{result} was made from something else: {'; '.join(found)}; {remedy}")


def require_fresh(results: Iterable[str | Path], *, remedy: str, any_version: bool = False) -> None:
    """Raises when the code or an input of a result has changed since it was made.

    A missing input passes. So does a result without a record, with a word in the log.

    Args:
        results: Paths of files or folders.
        remedy: What the message advises.
        any_version: Whether a result stays what it is when the code makes another one.

    Raises:
        DataError: If something has changed; the message names all that did.
    """
    for result in results:
        before = read_record(result)
        if before is None:
            logging.warning(f"{result}: what made it is not known; {remedy} to be sure")
            continue
        now = Record(
            before.step,
            before.version if any_version else VERSIONS.get(before.step, before.version),
            before.options,
            {name: _found_again(*each) for name, each in before.inputs.items()},
        )
        require_made_from(result, now, remedy=remedy, before=before)


def _found_again(value: str, digest: str | None) -> list[str | None]:
    return [value, digest_of(value) if digest is not None and on_disk(value) else digest]


def _plain(value: Any) -> Any:
    """A value as a JSON file gives it back."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, type(None))) else str(value)
