"""Spoken captions as a corpus lists them, and whether their files can be used."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from espnet_plugin.media.audio import read_header
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.files import MissingPackageError

SPLITS = ("train", "dev", "test")
# what corpora call them
SPLIT_NAMES = {
    "train": "train",
    "dev": "dev",
    "valid": "dev",
    "val": "dev",
    "validation": "dev",
    "test": "test",
}
_BATCH = 4096
# all but the white space, which str.split knows, and lone surrogates, which no file can hold
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class SpokenCaption:
    """One recording of one caption of one image.

    Attributes:
        split: ``train``, ``dev``, ``test``, or empty if no split has the image.
        utterance: Id of the utterance, which begins with ``<image>_``.
        image: Id of the image.
        recording: Path of the sound file.
        image_file: Path of the image's file.
        speaker: Name of who speaks, or empty if unknown.
        caption: Words that are said, or None if nobody wrote them down.
        language: Language that is spoken, or empty if unknown.
        problem: What is wrong with the corpus's entry, whatever its files hold.
    """

    split: str
    utterance: str
    image: str
    recording: str
    image_file: str
    speaker: str = ""
    caption: str | None = None
    language: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Corpus:
    """What differs from corpus to corpus.

    Attributes:
        name: Name of the corpus.
        roots: Folders of the corpus; files that its lists place elsewhere are refused.
        captions: Spoken captions of the corpus, which may come one after another.
        remedy: What a message advises if files are missing.
        published: What the owners published of each split (``images``, ``utterances``).
        notes: Sentences about quirks that were handled.
        total: Number of captions, where it is known before they are read.
        splits: Names of the sets to make.
        folder: Folder whose place no other folder may take in sets of this name; none if the
            name alone says which corpus it is.
    """

    name: str
    roots: Sequence[Path]
    captions: Iterable[SpokenCaption]
    remedy: str
    published: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    total: int | None = None
    splits: Sequence[str] = SPLITS
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A spoken caption, how long it is in seconds, and what is wrong with it, if anything.

    ``absent`` says that neither the recording nor the image is there.
    """

    item: SpokenCaption
    seconds: float = 0.0
    problem: str = ""
    absent: bool = False


def clean_caption(text: str) -> str:
    r"""Make one line: any white space becomes a single space, and control codes are dropped.

    >>> clean_caption(" A dog\u2028 runs\x07 . ")
    'A dog runs .'
    """
    return " ".join(_CONTROL.sub(" ", text).split())


def safe_id(name: str) -> str:
    """An id without white space or slashes."""
    return re.sub(r"[\s/\\]+", "-", name.strip())


def check(item: SpokenCaption, roots: Sequence[Path]) -> Checked:
    """Look at the names, at the image's presence and at the recording's header.

    Args:
        item: Spoken caption to check.
        roots: Folders that must hold its files; if there are none, any folder may.
    """
    if item.problem:
        return Checked(item, problem=item.problem)
    # absolute, since a root may be relative; the owner's links may lead out and are not followed
    folders = tuple(os.path.join(os.path.abspath(root), "") for root in roots)
    for what, path in (("recording", item.recording), ("image", item.image_file)):
        if folders and not os.path.abspath(path).startswith(folders):
            return Checked(item, problem=f"{what} outside the corpus's folder")
    # False for a name that no file can have, too
    has_image, has_recording = map(os.path.isfile, (item.image_file, item.recording))
    if not has_recording:
        return Checked(item, problem="recording missing", absent=not has_image)
    if not has_image:
        return Checked(item, problem="image missing")
    if os.path.getsize(item.recording) == 0:
        return Checked(item, problem="recording is an empty file")
    try:
        header = read_header(item.recording)
    except MissingPackageError:
        return Checked(item, problem="recording in AAC: pip install av, or convert it to WAV")
    except DataError:
        return Checked(item, problem="recording cannot be read")
    if header.num_samples <= 0 or header.rate <= 0:
        return Checked(item, problem="recording has no samples")
    if item.caption is not None and not item.caption:
        return Checked(item, problem="caption is empty")
    return Checked(item, seconds=header.seconds)


def check_all(
    items: Iterable[SpokenCaption], *, roots: Sequence[Path] = (), jobs: int
) -> Iterator[Checked]:
    """Check in parallel and in order, a few thousand at a time to keep memory small."""
    items = iter(items)
    look = partial(check, roots=roots)
    with ProcessPoolExecutor(max_workers=max(1, jobs)) as pool:
        while batch := list(islice(items, _BATCH)):
            if jobs > 1 and len(batch) > 64:
                yield from pool.map(look, batch, chunksize=128)
            else:
                yield from map(look, batch)
