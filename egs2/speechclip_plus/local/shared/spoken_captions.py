"""Spoken captions as a corpus lists them, and whether their files are there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
ABSENT = "neither recording nor image there"
# all but the white space, which str.split knows, and lone surrogates, which no file can hold
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class SpokenCaption:
    """One recording of one caption of one image.

    Attributes:
        split: ``train``, ``dev``, ``test``, or empty if no split has the image.
        utterance: Id of the utterance: ``<image>_`` and what tells it from the image's others.
        image: Id of the image.
        recording: Path of the sound file, empty if nobody has said the caption.
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
        splits: Names of the sets to make.
        folder: Folder whose place no other folder may take in sets of this name; none if the
            name alone says which corpus it is.
        words: Spoken words with their start and end in seconds, of utterances where they are known;
            None if the corpus has no such times.
    """

    name: str
    roots: Sequence[Path]
    captions: Iterable[SpokenCaption]
    remedy: str
    published: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    splits: Sequence[str] = SPLITS
    folder: Path | None = None
    words: Mapping[str, Sequence[tuple[str, float, float]]] | None = None


def clean_caption(text: str) -> str:
    r"""Make one line: any white space becomes a single space, and control codes are dropped.

    >>> clean_caption(" A dog\u2028 runs\x07 . ")
    'A dog runs .'
    """
    return " ".join(_CONTROL.sub(" ", text).split())


def safe_id(name: str) -> str:
    """An id without white space or slashes."""
    return re.sub(r"[\s/\\]+", "-", name.strip())


def problem_of(item: SpokenCaption, roots: Sequence[Path]) -> str:
    """Why a spoken caption cannot be used, by what is listed and which files are there, or nothing.

    The files are not read, which stage 2 does.

    Args:
        item: Spoken caption to look at.
        roots: Folders that must hold its files; if there are none, any folder may.
    """
    if item.problem:
        return item.problem
    # absolute, since a root may be relative; the owner's links may lead out and are not followed
    folders = tuple(os.path.join(os.path.abspath(root), "") for root in roots)
    for what, path in (("recording", item.recording), ("image", item.image_file)):
        if path and folders and not os.path.abspath(path).startswith(folders):
            return f"{what} outside the corpus's folder"
    # False for a name that no file can have, too
    has_image, has_recording = map(os.path.isfile, (item.image_file, item.recording))
    if not has_recording:
        return "recording missing" if has_image else ABSENT
    if not has_image:
        return "image missing"
    return "caption is empty" if item.caption == "" else ""
