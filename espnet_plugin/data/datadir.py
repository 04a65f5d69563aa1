"""Fix, check, filter and copy data directories.

A directory holds files with one line per utterance (``wav.scp``, ``text``, ``utt2spk``,
``utt2image``, ...), ``image.scp`` with one line per image, and ``spk2utt``. Optional files are
``words.ctm`` and ``meanings.ctm`` with one line per word.
"""

from __future__ import annotations

import html
import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path

from espnet_plugin.data.sampler_files import read_lengths
from espnet_plugin.data.scp import read_lines, read_scp, write_lines, write_scp
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.progress import counted

SYNTHETIC = "espeak-"  # how the ids of utterances begin that a synthetic voice says
RECORDINGS = "utt2recordings"  # which recordings an utterance was put together from
REQUIRED = ("wav.scp", "utt2spk", "utt2image")
PER_UTTERANCE = (
    *REQUIRED,
    "text",
    "utt2lang",
    RECORDINGS,
    "utt2num_samples",
    "utt2image_id",
    "image_feat.scp",
    "speech_states.scp",
)
WORDS_CTM = "words.ctm"
MEANINGS_CTM = "meanings.ctm"  # the same, but each word is the English one that is meant there
ALIGNMENTS = (WORDS_CTM, MEANINGS_CTM)
TABLES = (*PER_UTTERANCE, *ALIGNMENTS, "image.scp", "spk2utt")
WHOLE = ("feats_type", "audio_format")


def _present(directory: Path, names: Sequence[str]) -> list[Path]:
    return [directory / name for name in names if (directory / name).is_file()]


def fix(directory: Path) -> list[str]:
    """Keeps the utterances that every file has, and sorts all files.

    Their images must be in ``image.scp``. Captions, if there are any, must hold something readable.

    Raises:
        DataError: If a required file is missing, or no utterance is left.
    """
    for name in (*REQUIRED, "image.scp"):
        if not (directory / name).is_file():
            raise DataError(f"{directory / name}: missing; run the data preparation again")
    images = read_scp(directory / "image.scp")
    utt2image = read_scp(directory / "utt2image")
    why = {
        utt: "its image is not in image.scp"
        for utt, image in utt2image.items()
        if image not in images
    }
    for path in _present(directory, PER_UTTERANCE):
        listed = read_scp(path).keys()
        why |= dict.fromkeys(listed - utt2image.keys(), "not in utt2image")
        why |= dict.fromkeys(utt2image.keys() - listed, f"not in {path.name}")
    for path in _present(directory, ("text",)):
        unwritten = [utt for utt, caption in read_scp(path).items() if not _is_written(caption)]
        why |= dict.fromkeys(unwritten, "its caption holds nothing readable")
    removed = defaultdict(list)
    for utt, reason in sorted(why.items()):
        removed[reason].append(utt)
    return _keep(directory, directory, utt2image.keys() - why.keys(), removed)


def _is_written(caption: str) -> bool:
    """Whether something is left after CLIP's tokenizer resolves entities and drops controls."""
    shown = html.unescape(html.unescape(caption))
    return any(letter.isprintable() and not letter.isspace() for letter in shown)


def keep_by_duration(
    source: Path, target: Path, *, fs: int, shortest: float, longest: float
) -> list[str]:
    """Writes to ``target`` the utterances that are neither too short nor too long.

    Args:
        source: A data directory with ``utt2num_samples``.
        target: The data directory to write.
        fs: Sampling rate in Hz.
        shortest: Number of seconds below which an utterance is left out.
        longest: Number of seconds above which an utterance is left out.

    Raises:
        DataError: If no utterance is left, or a length is not a number.
    """
    kept = set()
    removed = defaultdict(list)
    for utt, samples in read_lengths([str(source / "utt2num_samples")]).items():
        seconds = samples / fs
        if shortest <= seconds <= longest:
            kept.add(utt)
        else:
            removed["too short" if seconds < shortest else "too long"].append(utt)
    wanted = f"{shortest} to {longest} s, see --min_wav_duration and --max_wav_duration"
    return _keep(source, target, kept, removed, wanted=wanted)


def _keep(
    source: Path,
    target: Path,
    kept: Collection[str],
    removed: dict[str, list[str]],
    *,
    wanted: str = "",
) -> list[str]:
    """Writes the lines of some utterances from ``source`` to ``target``, sorted.

    ``image.scp`` keeps the images of these utterances. ``spk2utt`` is made again. Returns what was
    kept, and removed by reason, a sentence each.
    """
    report = [f"{counted(len(kept), 'utterance')} kept"]
    for reason, ids in removed.items():
        examples = ", ".join(sorted(ids)[:3]) + (", ..." if len(ids) > 3 else "")
        report.append(f"{counted(len(ids), 'utterance')} removed: {reason} ({examples})")
    if not kept:
        said = [*report, *([f"wanted are {wanted}"] if wanted else [])]
        raise DataError(f"{source}: no utterance is left; {'; '.join(said)}")
    for path in _present(target, TABLES):
        # an earlier run left it
        if not (source / path.name).is_file():
            path.unlink()
    for path in _present(source, PER_UTTERANCE):
        # ESPnet's readers end a line at a carriage return
        table = {
            utt: value.replace("\r", " ") for utt, value in read_scp(path).items() if utt in kept
        }
        write_scp(target / path.name, table)
    for path in _present(source, ALIGNMENTS):
        write_lines(target / path.name, (line for line in read_lines(path) if line[0] in kept))
    shown = set(read_scp(target / "utt2image").values())
    for path in _present(source, ("image.scp",)):
        images = read_scp(path).items()
        write_scp(target / path.name, {image: file for image, file in images if image in shown})
    if source != target:
        for path in _present(source, WHOLE):
            _copy(path, target)
    write_spk2utt(target)
    return report


def write_spk2utt(directory: Path) -> None:
    """Makes ``spk2utt`` from ``utt2spk``."""
    utterances = defaultdict(list)
    for utt, speaker in sorted(read_scp(directory / "utt2spk").items()):
        utterances[speaker].append(utt)
    write_scp(directory / "spk2utt", {spk: " ".join(utts) for spk, utts in utterances.items()})


def problems(directory: Path, *, text: bool = True) -> list[str]:
    """Finds the problems of a directory, and says each in a sentence.

    Args:
        directory: The data directory.
        text: Whether captions are required; a corpus of an unwritten language has none.
    """
    needed = (*REQUIRED, "spk2utt", "image.scp", *(("text",) if text else ()))
    found = [f"{directory / name}: missing" for name in needed if not (directory / name).is_file()]
    if found:
        return found
    utterances = set(read_scp(directory / "wav.scp"))
    if not utterances:
        found.append(f"{directory / 'wav.scp'}: empty")
    for path in _present(directory, (*PER_UTTERANCE, "image.scp", "spk2utt")):
        found += _problems_of_table(path, utterances)
    images = read_scp(directory / "image.scp")
    unknown = set(read_scp(directory / "utt2image").values()) - images.keys()
    if unknown:
        lacking = f"{counted(len(unknown), 'image')} {sorted(unknown)[:3]}"
        found.append(f"{directory / 'image.scp'}: lacks {lacking}")
    return found


def _problems_of_table(path: Path, utterances: set[str]) -> list[str]:
    found = []
    table = read_scp(path)
    if any(first > second for first, second in pairwise(table)):
        found.append(f"{path}: not sorted as LC_ALL=C sort does")
    if path.name in PER_UTTERANCE and (other := utterances ^ table.keys()):
        found.append(f"{path}: unlike wav.scp in {sorted(other)[:3]} ({len(other)} in all)")
    if empty := [key for key, value in table.items() if not value]:
        found.append(f"{path}: no value after {counted(len(empty), 'id')}, the first is {empty[0]}")
    if returns := [key for key, value in table.items() if "\r" in value]:
        found.append(
            f"{path}: a carriage return, at which ESPnet ends a line, in "
            f"{counted(len(returns), 'line')}, the first is {returns[0]}"
        )
    return found


def validate(directory: Path, *, text: bool = True) -> None:
    """Checks a directory.

    Raises:
        DataError: If there are problems; the message has a line for each, and the remedy.
    """
    found = problems(directory, text=text)
    if found:
        remedy = f"python -m espnet_plugin.bin.datadir fix --dir {directory}"
        raise DataError("\n  ".join(["invalid data directory:", *found, f"try: {remedy}"]))


def copy(source: Path, target: Path) -> None:
    """Copies the files of a data directory, without subfolders.

    Tables of an earlier copy that the source does not have are removed.
    """
    target.mkdir(parents=True, exist_ok=True)
    for path in _present(target, TABLES):
        if not (source / path.name).is_file():
            path.unlink()
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            _copy(path, target)


def _copy(path: Path, target: Path) -> None:
    with atomic_path(target / path.name) as temporary:
        shutil.copyfile(path, temporary)


def write_image_ids(directory: Path) -> int:
    """Writes ``utt2image_id``: one integer per utterance, the same for the same image.

    Returns:
        The number of images.
    """
    utt2image = read_scp(directory / "utt2image")
    number = {image: place for place, image in enumerate(sorted(set(utt2image.values())))}
    write_scp(directory / "utt2image_id", {utt: number[image] for utt, image in utt2image.items()})
    return len(number)


def write_image_feats(directory: Path, embeddings: Path) -> list[str]:
    """Writes ``image_feat.scp``: each utterance's image embedding, if its image has one.

    Args:
        directory: The data directory.
        embeddings: ``image_embedding.scp``, with the npy file of each image.

    Returns:
        The utterances whose image has no embedding, which are left out.
    """
    files = read_scp(embeddings)
    utt2image = read_scp(directory / "utt2image")
    table = {utt: files[image] for utt, image in utt2image.items() if image in files}
    write_scp(directory / "image_feat.scp", table)
    return [utt for utt in utt2image if utt not in table]


def log_report(directory: str | os.PathLike[str], lines: Sequence[str]) -> None:
    """Logs one line per finding."""
    for line in lines:
        logging.info(f"{directory}: {line}")
