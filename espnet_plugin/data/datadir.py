"""Operations on a data directory: which files it has, keeping them consistent, splitting it.

A directory holds files with one line per utterance (``wav.scp``, ``text``, ``utt2spk``,
``utt2image``, ...), ``image.scp`` with one line per picture, ``spk2utt``, and perhaps
``words.ctm`` with a line per word.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_plugin.data.scp import DataError, read_lines, read_scp, write_lines, write_scp
from espnet_plugin.utils.atomic import write_text

REQUIRED = ("wav.scp", "utt2spk", "utt2image")
PER_UTTERANCE = (
    *REQUIRED,
    "text",
    "utt2num_samples",
    "utt2image_id",
    "image_feat.scp",
    "speech_states.scp",
)
PER_IMAGE = ("image.scp",)
PER_WORD = ("words.ctm",)
WHOLE = ("feats_type", "audio_format")


@dataclass
class FixReport:
    """What a consistency pass removed: file name or reason → ids."""

    kept: int = 0
    removed: dict[str, list[str]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """One sentence per reason, with up to three examples."""
        texts = [f"{self.kept} utterances kept"]
        for reason, ids in self.removed.items():
            examples = ", ".join(sorted(ids)[:3]) + (", ..." if len(ids) > 3 else "")
            texts.append(f"{len(ids)} utterances removed: {reason} ({examples})")
        return texts


def present(directory: Path, names: Sequence[str]) -> list[Path]:
    """The files among ``names`` that the directory has."""
    return [directory / name for name in names if (directory / name).is_file()]


def restrict(source: Path, target: Path, utterances: Collection[str]) -> None:
    """Writes to ``target`` the part of ``source`` that belongs to ``utterances``, sorted.

    ``image.scp`` keeps the pictures that these utterances show, and ``spk2utt`` is made anew.
    """
    target.mkdir(parents=True, exist_ok=True)
    utterances = utterances if isinstance(utterances, (set, frozenset, dict)) else set(utterances)
    for path in present(source, PER_UTTERANCE):
        table = read_scp(path)
        write_scp(target / path.name, {k: v for k, v in table.items() if k in utterances})
    for path in present(source, PER_WORD):
        lines = [line for line in read_lines(path) if line[0] in utterances]
        # stable: the words of an utterance stay in their order
        write_lines(target / path.name, sorted(lines, key=lambda line: line[0].encode()))
    images = {image for utt, image in read_lines(source / "utt2image") if utt in utterances}
    for path in present(source, PER_IMAGE):
        table = read_scp(path)
        write_scp(target / path.name, {k: v for k, v in table.items() if k in images})
    if source != target:
        for path in present(source, WHOLE):
            shutil.copyfile(path, target / path.name)
    write_spk2utt(target)


def write_spk2utt(directory: Path) -> None:
    """Makes ``spk2utt`` from ``utt2spk``."""
    speakers: dict[str, list[str]] = {}
    for utterance, speaker in read_lines(directory / "utt2spk"):
        speakers.setdefault(speaker, []).append(utterance)
    write_scp(directory / "spk2utt", {k: " ".join(v) for k, v in speakers.items()})


def fix(directory: Path) -> FixReport:
    """Keeps the utterances that every file has and whose picture is known; sorts all files.

    Raises:
        DataError: A required file is missing, or no utterance is left.
    """
    for name in (*REQUIRED, *PER_IMAGE):
        if not (directory / name).is_file():
            raise DataError(f"{directory / name}: missing; run the data preparation again")
    keys = {path.name: set(read_scp(path)) for path in present(directory, PER_UTTERANCE)}
    everything = set().union(*keys.values())
    report = FixReport()
    kept = set(everything)
    for name, there in keys.items():
        missing = kept - there
        if missing:
            report.removed[f"not in {name}"] = sorted(missing)
        kept &= there
    images = set(read_scp(directory / "image.scp"))
    utt2image = read_lines(directory / "utt2image")
    pictureless = {utt for utt, image in utt2image if utt in kept and image not in images}
    if pictureless:
        report.removed["its picture is not in image.scp"] = sorted(pictureless)
    kept -= pictureless
    if not kept:
        raise DataError(f"{directory}: no utterance is left; {'; '.join(report.lines())}")
    report.kept = len(kept)
    restrict(directory, directory, kept)
    return report


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
    reference = list(read_scp(directory / "wav.scp"))
    if not reference:
        found.append(f"{directory / 'wav.scp'}: empty")
    for path in present(directory, (*PER_UTTERANCE, *PER_IMAGE, "spk2utt")):
        table = read_scp(path)
        keys = list(table)
        if keys != sorted(keys, key=str.encode):
            found.append(f"{path}: not sorted as LC_ALL=C sort does")
        if path.name in PER_UTTERANCE and keys != reference:
            other = set(keys) ^ set(reference)
            found.append(f"{path}: {len(other)} utterances differ from wav.scp {sorted(other)[:3]}")
        empty = [key for key, value in table.items() if not value]
        if empty:
            found.append(f"{path}: nothing stands after {len(empty)} ids, the first is {empty[0]}")
    images = read_scp(directory / "image.scp")
    unknown = {image for _, image in read_lines(directory / "utt2image") if image not in images}
    if unknown:
        examples = sorted(unknown)[:3]
        found.append(f"{directory / 'image.scp'}: lacks {len(unknown)} pictures {examples}")
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
    lines = list(read_lines(keys))
    jobs = max(1, min(jobs, len(lines)))
    for old in output.glob(f"{name}.*.scp"):
        old.unlink()
    for job in range(jobs):
        start, stop = len(lines) * job // jobs, len(lines) * (job + 1) // jobs
        write_lines(output / f"{name}.{job + 1}.scp", lines[start:stop])
    return jobs


def by_duration(
    num_samples: Path, *, fs: int, shortest: float, longest: float
) -> tuple[set[str], set[str], set[str]]:
    """Sorts utterances by duration.

    Args:
        num_samples: ``utt2num_samples``.
        fs: Sampling rate in Hz.
        shortest: Seconds; shorter ones are out.
        longest: Seconds; longer ones are out.

    Returns:
        Utterances that stay, that are too short, that are too long.
    """
    stay, short, long = set(), set(), set()
    for utterance, samples in read_lines(num_samples):
        seconds = int(samples) / fs
        group = short if seconds < shortest else long if seconds > longest else stay
        group.add(utterance)
    return stay, short, long


def write_image_ids(directory: Path) -> int:
    """Writes ``utt2image_id``: one integer per utterance, the same for the same picture.

    Returns:
        The number of pictures.
    """
    utt2image = read_scp(directory / "utt2image")
    number = {image: i for i, image in enumerate(sorted(set(utt2image.values()), key=str.encode))}
    write_scp(directory / "utt2image_id", {utt: number[im] for utt, im in utt2image.items()})
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
    utt2image = read_scp(directory / "utt2image")
    there = {utt: table[image] for utt, image in utt2image.items() if image in table}
    write_scp(directory / "image_feat.scp", there)
    return sorted(set(utt2image) - set(there))


def write_format(directory: Path, audio_format: str) -> None:
    """Writes the two files by which ESPnet's scripts know what kind of features these are."""
    write_text(directory / "feats_type", "raw\n")
    write_text(directory / "audio_format", f"{audio_format}\n")


def log_report(directory: str | os.PathLike[str], lines: Sequence[str]) -> None:
    """Logs one line per finding."""
    for line in lines:
        logging.info(f"{directory}: {line}")
