"""Operations on a data directory: which files it has, keeping them consistent, splitting it.

A directory holds files with one line per utterance (``wav.scp``, ``text``, ``utt2spk``,
``utt2image``, ...), ``image.scp`` with one line per picture, ``spk2utt``, and perhaps
``words.ctm`` with a line per word.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from espnet_plugin.data.scp import DataError, read_lines, read_scp, write_lines
from espnet_plugin.data.selection import (
    PER_IMAGE,
    PER_UTTERANCE,
    REQUIRED,
    FixReport,
    present,
    select,
)
from espnet_plugin.data.sorted_tables import in_order, is_sorted, read_sorted, side_by_side
from espnet_plugin.utils.atomic import write_text


def fix(directory: Path) -> FixReport:
    """Keeps the utterances that every file has and whose picture is known; sorts all files.

    Raises:
        DataError: A required file is missing, or no utterance is left.
    """
    for name in (*REQUIRED, *PER_IMAGE):
        if not (directory / name).is_file():
            raise DataError(f"{directory / name}: missing; run the data preparation again")
    images = set(read_scp(directory / "image.scp"))

    def decide(_: str, lines: dict[str, str | None]) -> str | None:
        for name, value in lines.items():
            if value is None:
                return f"not in {name}"
        return None if lines["utt2image"] in images else "its picture is not in image.scp"

    return select(directory, directory, decide)


def keep_by_duration(
    source: Path, target: Path, *, fs: int, shortest: float, longest: float
) -> FixReport:
    """Writes to ``target`` the utterances that are neither too short nor too long.

    Args:
        source: A data directory with ``utt2num_samples``.
        target: Another one.
        fs: Sampling rate in Hz.
        shortest: Seconds; shorter ones are out.
        longest: Seconds; longer ones are out.

    Raises:
        DataError: No utterance stays, or a length is no number.
    """

    def decide(utt: str, lines: dict[str, str | None]) -> str | None:
        samples = lines["utt2num_samples"]
        if samples is None:
            return "not in utt2num_samples"
        if not samples.isdecimal():
            raise DataError(f"{source / 'utt2num_samples'}: {utt}: expected a length: {samples!r}")
        seconds = int(samples) / fs
        return "too short" if seconds < shortest else "too long" if seconds > longest else None

    return select(source, target, decide)


def problems(directory: Path, *, text: bool = True) -> list[str]:
    """What is wrong with a directory, one sentence each; empty when all is well.

    Args:
        directory: The data directory.
        text: Whether captions are required; a corpus of an unwritten language has none.
    """
    needed = (*REQUIRED, "spk2utt", *PER_IMAGE, *(("text",) if text else ()))
    found = [f"{directory / name}: missing" for name in needed if not (directory / name).is_file()]
    if found:
        return found
    with in_order(directory / "wav.scp") as reference:
        if next(read_lines(reference), None) is None:
            found.append(f"{directory / 'wav.scp'}: empty")
        for path in present(directory, (*PER_UTTERANCE, *PER_IMAGE, "spk2utt")):
            found += _problems_of_table(path, reference)
    images = {image for image, _ in read_lines(directory / "image.scp")}
    unknown = {image for _, image in read_lines(directory / "utt2image") if image not in images}
    if unknown:
        examples = sorted(unknown)[:3]
        found.append(f"{directory / 'image.scp'}: lacks {len(unknown)} pictures {examples}")
    return found


def _problems_of_table(path: Path, reference: Path) -> list[str]:
    found = []
    if not is_sorted(path):
        found.append(f"{path}: not sorted as LC_ALL=C sort does")
    other, examples = 0, []
    empty, first_empty = 0, ""
    returns, first_return = 0, ""
    with in_order(path) as ordered:
        for key, (here, there) in side_by_side([ordered, reference]):
            if here is not None and not here:
                empty += 1
                first_empty = first_empty or key
            if here is not None and "\r" in here:
                returns += 1
                first_return = first_return or key
            if path.name in PER_UTTERANCE and (here is None or there is None):
                other += 1
                examples = [*examples, key][:3]
    if other:
        found.append(f"{path}: {other} utterances differ from wav.scp {examples}")
    if empty:
        found.append(f"{path}: nothing stands after {empty} ids, the first is {first_empty}")
    if returns:
        found.append(
            f"{path}: {returns} lines hold a carriage return, at which ESPnet ends a line, the "
            f"first is {first_return}"
        )
    return found


def validate(directory: Path, *, text: bool = True) -> None:
    """Raises DataError naming every problem of a directory.

    Raises:
        DataError: With one line per problem and the remedy.
    """
    found = problems(directory, text=text)
    if found:
        remedy = f"python -m espnet_plugin.bin.datadir fix --dir {directory}"
        raise DataError("\n  ".join(["invalid data directory:", *found, f"try: {remedy}"]))


def copy(source: Path, target: Path) -> None:
    """Copies every file of a data directory, not what lies in folders below it."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            shutil.copyfile(path, target / path.name)


def split(keys: Path, output: Path, *, jobs: int, name: str = "keys") -> int:
    """Splits the lines of a file into contiguous shards ``<name>.<1..jobs>.scp``.

    Contiguous, so that the shards' results one after another are sorted. The files of a split into
    more shards are removed.

    Returns:
        The number of shards, at most the number of lines.
    """
    total = sum(1 for _ in read_lines(keys))
    jobs = max(1, min(jobs, total))
    for old in output.glob(f"{name}.*.scp"):
        old.unlink()
    lines = read_lines(keys)
    for job in range(jobs):
        size = total * (job + 1) // jobs - total * job // jobs
        write_lines(output / f"{name}.{job + 1}.scp", islice(lines, size))
    return jobs


def write_image_ids(directory: Path) -> int:
    """Writes ``utt2image_id``: one integer per utterance, the same for the same picture.

    Returns:
        The number of pictures.
    """
    source = directory / "utt2image"
    images = sorted({image for _, image in read_lines(source)}, key=str.encode)
    number = {image: str(place) for place, image in enumerate(images)}
    with in_order(source) as ordered:
        lines = ((utt, number[image]) for utt, image in read_sorted(ordered))
        write_lines(directory / "utt2image_id", lines)
    return len(number)


def write_image_feats(directory: Path, embeddings: Path) -> list[str]:
    """Writes ``image_feat.scp``: each utterance's image embedding, for the pictures that have one.

    Args:
        directory: The data directory.
        embeddings: ``image_embedding.scp``, image id → npy file.

    Returns:
        Utterances whose picture has no embedding; they are left out.
    """
    table = read_scp(embeddings)
    missing = []

    def lines() -> Iterator[tuple[str, str]]:
        for utt, image in read_sorted(ordered):
            if image in table:
                yield utt, table[image]
            else:
                missing.append(utt)

    with in_order(directory / "utt2image") as ordered:
        write_lines(directory / "image_feat.scp", lines())
    return missing


def write_format(directory: Path, audio_format: str) -> None:
    """Writes the two files by which ESPnet's scripts know what kind of features these are."""
    write_text(directory / "feats_type", "raw\n")
    write_text(directory / "audio_format", f"{audio_format}\n")


def log_report(directory: str | os.PathLike[str], lines: Sequence[str]) -> None:
    """Logs one line per finding."""
    for line in lines:
        logging.info(f"{directory}: {line}")
